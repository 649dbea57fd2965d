import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ivm_data.cli.app import app
from storage.parts.shards import commit_part, write_weights


@pytest.fixture
def data(tmp_path):
    path = Path(__file__).parents[2] / "storage" / "builders.py"
    spec = importlib.util.spec_from_file_location("storage_builders", path)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    for i in range(3):
        part = build.make_part(f"part-{i:05d}", seed=100 * i)
        commit_part(tmp_path, part)
        write_weights(tmp_path, "lmm-head@77aa", part.part, build.make_weights(part))
    return tmp_path


def ivm(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def lines(*arguments):
    return [json.loads(line) for line in ivm(*arguments, "--format", "json").splitlines() if line.startswith("{")]


def test_a_rule_is_listed_previewed_applied_and_undone(data):
    rows = {row["rule"]: row for row in lines("clean", "--data", data)}
    assert rows["box_mask_disagreement"]["found"] == 30 and rows["box_mask_disagreement"]["excluded"] == 0
    preview = lines("clean", "--data", data, "box_mask_disagreement", "--with", "iou=0.9", "--limit", 2)
    assert sum("sample_id" in row for row in preview) == 2
    assert "30 labels excluded" in ivm("clean", "--data", data, "box_mask_disagreement", "--apply", "--who", "ada")
    assert lines("sql", "--data", data, "select count(*) as n, any_value(who) as who from decisions") == [
        {"n": 30, "who": "ada"}
    ]
    assert "30 labels included again" in ivm("clean", "--data", data, "box_mask_disagreement", "--undo")


def test_snapshots_are_made_listed_compared_and_verified_across_a_compaction(data):
    name = ivm("snapshot", "create", "--data", data).strip()
    ivm("clean", "--data", data, "box_mask_disagreement", "--apply")
    assert "1" in ivm("compact", "--data", data)
    assert "all 6 parts are as they were" in ivm("snapshot", "verify", "--data", data, name[:6])
    changed = lines("snapshot", "diff", "--data", data, name, "now")
    assert {"kind": "decisions", "of": "box_mask_disagreement", "rows removed": 0, "rows added": 30} in changed
    assert {row["verdict"] for row in changed if "PSI" in row} == {"noise", "same"}
    assert name in {row["snapshot"] for row in lines("snapshot", "list", "--data", data)}
    assert lines("sql", "--data", data, "--snapshot", name, "select count(*) as n from decisions") == [{"n": 0}]
    assert lines("query", "--data", data, "--snapshot", name, "summary")[0]["inputs"] == 36


def test_the_figures_and_the_experts_reliability_are_one_command_each(data, tmp_path):
    assert "fig5.svg" in ivm("figure", "area", "--data", data, "-o", tmp_path / "fig5.svg").replace("\n", "")
    ivm("figure", "weights", "--data", data, "-o", tmp_path / "fig10b.svg", "--with", "bins=10")
    assert (tmp_path / "fig10b.svg").read_text().startswith("<?xml")
    assert [row["expert"] for row in lines("reliability", "--data", data)] == ["dino@1+sam@1", "heat@1"]
