"""`benchmarks.gpu`: one file of results, from small models on a CPU, whatever fails on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import TABLES, attempt, markdown

ROOT = Path(__file__).parents[2]


def _facts() -> dict:
    return {
        "machine": "a CPU", "size": "tiny", "command": "python -m benchmarks.gpu", "seconds": {}, "failed": {},
        "skipped": ["LLaVA-1.5-7B: 9 s are left, it may take 60"], "tables": {name: [] for name in TABLES},
    }  # fmt: skip


def test_a_section_that_fails_is_named_and_takes_no_other_along():
    facts = _facts()

    def fails():
        raise RuntimeError("out of everything")

    attempt(facts, "SAM", fails)
    attempt(facts, "training", lambda: {"training": [{"batch": 2, "s a step": 0.25}]})
    page = markdown(facts)
    assert "Failed: SAM: RuntimeError: out of everything" in page
    assert "Skipped: LLaVA-1.5-7B: 9 s are left" in page
    assert "| batch | s a step |\n| --- | --- |\n| 2 | 0.250 |" in page
    assert list(facts["seconds"]) == ["SAM", "training"]


@pytest.mark.slow
def test_without_a_gpu_it_runs_small_models_and_writes_every_table_but_those_of_a_gpu(tmp_path):
    page = tmp_path / "results" / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--threads", "1", "--out", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(page.read_text())
    assert not facts["failed"] and not facts["skipped"]
    rows = facts["tables"]
    experts = ["CLIPSeg", "SAM", "Grounding DINO", "LLaVA"]
    assert [row["expert"] for row in rows["memory"]] == experts
    assert {row["expert"] for row in rows["experts"]} == {row["expert"] for row in rows["batches"]} == set(experts)
    assert all(row["same"] == "yes" for row in rows["experts"] if "float32" in row["variant"])
    assert [row["expert"] for row in rows["batches"] if row["fastest"]] == experts
    assert [row["stage"] for row in rows["stages"]][-2:] == ["all stages", "wall clock"]
    assert rows["training"][0]["precision"] == "bf16" and rows["training"][0]["loss"] > 0
    shown = subprocess.run([*command[:3], "--show", str(page)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == done.stdout
