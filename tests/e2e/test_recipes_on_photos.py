"""The full-size recipes on real photographs, each expert from a small checkpoint in its real format."""

import json
from dataclasses import replace

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import recipe
from storage.catalog import Catalog
from storage.errors import IvmWarning

PAIRS = 4


@pytest.fixture
def photos(photos_dev, tmp_path):
    """A pair for each of four photographs of different sizes."""
    lines = (photos_dev / "manifest.jsonl").read_text().splitlines()
    first = {json.loads(line)["image"]: line for line in reversed(lines)}
    manifest = tmp_path / "photos.jsonl"
    manifest.write_text("\n".join(list(first.values())[:PAIRS]))
    return manifest


def in_miniature(spec, folder, tiny):
    """The spec with a small checkpoint of its expert; the LMM's answers are always the same."""
    folder.mkdir(parents=True)
    if spec.expert != "hf-lmm":
        return tiny.SPECS[spec.expert](folder)
    tiny.qwen2_5_vl(folder, "find person on the left and dog")
    return ExpertSpec("hf-lmm", spec.options | {"path": str(folder), "batch": 4})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["card", "modern", "open", "small"])
def test_every_pair_of_a_recipe_ends_as_a_row_with_every_expert_of_it(
    name, tiny, photos, photos_dev, tmp_path, monkeypatch
):
    tiny.use_tiny_swin(monkeypatch)
    tiny.use_small_sam(monkeypatch)
    full = recipe(name, {"resolve.in_context": True, "ground.ask_nouns": True, "resolve.absent_below": 0.0})
    lmm = in_miniature(full.rewriter, tmp_path / "lmm", tiny)
    small = replace(
        full,
        rewriter=lmm,
        verifier=lmm,
        grounders=tuple(in_miniature(spec, tmp_path / f"g{i}", tiny) for i, spec in enumerate(full.grounders)),
        segmenter=in_miniature(full.segmenter, tmp_path / "s", tiny),
        proposers=tuple(in_miniature(spec, tmp_path / f"p{i}", tiny) for i, spec in enumerate(full.proposers)),
    )
    with pytest.warns(IvmWarning, match="has no calibration"):
        run = prepare(photos, tmp_path / "data", small, part_size=2, image_root=photos_dev)
    label_manifest(run)
    with Catalog(run.data) as catalog:
        rows = catalog.sql(
            "SELECT sample_id, outcome, reason, detail, rewrite, evidence, answer FROM outcomes"
        ).to_pylist()
        roles = catalog.sql("SELECT role, count(DISTINCT name) AS n FROM lineage GROUP BY role").to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows) == PAIRS
    assert not [row["detail"] for row in rows if row["reason"] == "expert_failed"]
    labels = [row for row in rows if row["outcome"] == "label"]
    assert labels and all(row["rewrite"]["phrases"] == ["person on the left", "dog"] for row in labels)
    assert all(row["answer"] == "find person on the left and dog" for row in labels)
    assert any(row["evidence"] for row in labels), "nouns were asked for beside expressions"
    assert {row["role"]: row["n"] for row in roles}["grounder"] == len({spec.expert for spec in full.grounders})
