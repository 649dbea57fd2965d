"""`benchmarks.gpu`: one file of results, from small models on a CPU, whatever fails on the way."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import plain_training
from benchmarks.gpu import TABLES, attempt, markdown
from benchmarks.training_memory import label
from ivm_data.experts.registry import embedded
from ivm_data.recipes.training_recipes import train_config
from ivm_model.data.pixels import place
from ivm_model.engine.losses import mask_loss
from ivm_model.model.masking_model import MaskingModel
from storage.pixels import rle
from storage.pixels.images import decode

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
    assert [(row["recipe"], row["loop"], row["precision"]) for row in rows["training"]] == [
        ("modern", "ours", "bf16"), ("paper", "ours", "bf16"), ("paper", "plain loop", "bf16"),
    ]  # fmt: skip
    assert all(row["loss"] > 0 and row["s a step"] > 0 for row in rows["training"])
    assert rows["training"][1]["trained"] == rows["training"][2]["trained"]
    shown = subprocess.run([*command[:3], "--show", str(page)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == done.stdout


def test_the_plain_loop_learns_the_same_thing(tmp_path):
    recipe = {"sam": embedded("zoo:segmenter"), "lmm": embedded("zoo:lmm"), "inputs.dtype": "float32"}
    config = train_config(tmp_path, tmp_path / "model", recipe | {"lora.dropout": 0.0}, "paper")
    torch.manual_seed(0)
    model = MaskingModel(config.model).train()
    rows = [label(number) for number in range(3)]
    images = [decode(row.sample.image) for row in rows]
    encoded = model.encode(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits_BHW = model(encoded, [row.sample.instruction for row in rows]).float()
    masks = [rle.decode(row.sample.human_mask or row.mask).astype(np.uint8) * 255 for row in rows]
    placed = [place(mask_HW, at, model.side) for mask_HW, at in zip(masks, encoded.placements, strict=True)]
    expected = mask_loss(logits_BHW, torch.from_numpy(np.stack(placed)).float() / 255).mean()
    assert plain_training.loss_of(model, rows).item() == pytest.approx(expected.item(), rel=5e-3)
    first, *_, last = plain_training.losses(model, rows * 8, batch=3)
    assert last < first
