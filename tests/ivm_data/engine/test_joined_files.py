"""Runs join the files of their parts where there are many, and label nothing twice for that."""

from dataclasses import replace

import pytest

from ivm_data.engine.labeling import label_manifest, tidy
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.ray_config import RayConfig
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.upkeep import tidy as joining
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify

PAIRS = [(image, instruction) for image in range(6) for instruction in range(3)]


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(joining, "PARTS", 6)
    monkeypatch.setattr(joining, "PARTS_AT_THE_END", 2)


def light_files(data):
    return list(data.rglob("*.light.parquet"))


def test_a_run_ends_with_few_files_and_the_next_one_finds_all_of_it_labeled(photos, labelers, labeler, tmp_path):
    records = labelers.lines(*PAIRS)
    manifest = labelers.write_manifest(photos, records)
    assert labeler.label(manifest, 1) == len(PAIRS) and len(light_files(labeler.data)) == 1
    assert labeler.label(manifest, 1) == 0 and len(light_files(labeler.data)) == 1
    grown = labelers.write_manifest(photos, [*labelers.lines((6, 0), (7, 0), (7, 1)), *records])
    assert labeler.label(grown, 1) == 3 and len(light_files(labeler.data)) == 1
    assert labeler.label(grown, 1, again=("ok",)) == len(PAIRS) + 3
    assert verify(labeler.data) == () and len(labelers.counted(labeler.data)) == len(PAIRS) + 3
    anew = labelers.Labeler(tmp_path / "anew")
    anew.label(grown, 64)
    assert labelers.counted(anew.data) == labelers.counted(labeler.data)


@pytest.mark.slow
def test_a_run_joins_files_while_it_goes_on_and_not_where_it_is_told_not_to(tmp_path):
    manifest = write_world(tmp_path / "world", "val", scenes=4, pairs_per_scene=2, human_share=0.5)
    one, other = (prepare(manifest, tmp_path / name, recipe("demo"), 1, compact=name == "on") for name in ("on", "off"))
    seen = []
    for run in (one, other):
        label_manifest(run, lambda _, run=run: seen.append(len(light_files(run.data))))
    # The files are joined after the sixth part was told.
    assert seen == [1, 2, 3, 4, 5, 6, 2, 3, *range(1, 9)]
    assert [len(light_files(run.data)) for run in (one, other)] == [3, 8]
    assert content_hash(one.data) == content_hash(other.data)


def test_files_stay_where_an_object_store_has_them_one_by_one_and_where_locks_may_not_hold(tmp_path, photos, labelers):
    labeler = labelers.Labeler(tmp_path / "data")
    run = labeler.prepare(labelers.write_manifest(photos, labelers.lines(*PAIRS)))
    assert tidy(run).active and not tidy(replace(run, remote="s3://bucket/data")).active
    assert not tidy(replace(run, compact=False)).active
    assert RayConfig().here and not RayConfig(address="auto").here
