"""Every expert from a small checkpoint in its real format, within the label flow, on real photographs."""

import json
from dataclasses import replace

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts import registry
from ivm_data.recipes.labeling_recipes import recipe
from storage.catalog import Catalog
from storage.data_set import DataSet

ROLES = {"ground": "grounder", "segment": "segmenter", "p_yes": "verifier", "propose": "proposer"}
"""Verb -> the role of the recipe that an expert with it takes."""
REMOTE = {"openai"}
"""Has no checkpoint; tests/ivm_data/experts/lmms/test_transformers_serve.py runs it against a real server."""
TRACKERS = {"flow", "sam2-video", "sam3-tracker-video", "edgetam-video"}
"""They carry masks through a video, and label no photograph."""

INSTRUCTIONS = (
    "Pick up the plain object.",
    "Find the small thing.",
    "Show me the white object.",
    "Find the big thing.",
)
"""In words that the embedded rewriter knows."""
SILENT = {"florence2", "kosmos-2"}
"""Name no box before they are taught any: their pairs end as labels without a target."""


@pytest.fixture(scope="module")
def photos(photos_dev, tmp_path_factory):
    """Four pairs over four photographs."""
    lines = (photos_dev / "manifest.jsonl").read_text().splitlines()
    first = {json.loads(line)["image"]: json.loads(line) for line in reversed(lines)}
    rows = [row | {"instruction": said} for row, said in zip(list(first.values())[-4:], INSTRUCTIONS, strict=True)]
    manifest = tmp_path_factory.mktemp("photos") / "photos.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    return manifest


@pytest.fixture(autouse=True)
def _miniature_architectures(tiny, monkeypatch):
    tiny.use_tiny_swin(monkeypatch)
    tiny.use_small_sam(monkeypatch)


def test_every_registered_expert_has_a_small_checkpoint_here(tiny):
    assert set(registry.names()) == set(tiny.SPECS) | REMOTE | TRACKERS


@pytest.mark.parametrize(
    ("name", "role"),
    [(name, None) for name in registry.names() if name not in REMOTE | TRACKERS] + [("sam3", "proposer")],
)
def test_an_expert_labels_photographs_within_the_flow(name, role, tiny, photos, photos_dev, tmp_path):
    (tmp_path / name).mkdir()
    spec = tiny.SPECS[name](tmp_path / name)
    expert = registry.get(spec)
    role = role or next(role for verb, role in ROLES.items() if hasattr(expert, verb))
    # Whatever the miniatures think of a photograph, its target counts as present, so that every stage runs.
    changes = {"grounders.0.options.tiles": False, "segmenter.options.tiles": False}
    base = recipe("demo", changes | {"resolve.absent_below": 1.0 if name in SILENT else 0.0})
    field, value = {"proposer": ("proposers", (spec,)), "grounder": ("grounders", (spec,))}.get(role, (role, spec))
    changes = {"proposers": (), field: value}
    run = prepare(photos, tmp_path / "data", replace(base, **changes), part_size=4, image_root=photos_dev)
    label_manifest(run)
    with Catalog(run.data) as catalog:
        outcomes = catalog.sql("select sample_id, count(*) as n from outcomes group by all").to_pylist()
        lineage = catalog.sql("select distinct unnest(experts, recursive := true) from labels").to_pylist()
    assert [row["n"] for row in outcomes] == [1] * 4
    assert {"role": role, "name": expert.name} in lineage
    makers = {proposal.expert for label in DataSet.open(run.data).labels() for proposal in label.proposals}
    assert any(expert.name in maker for maker in makers) == (name not in SILENT and role != "verifier")
