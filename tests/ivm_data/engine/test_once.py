"""A pair is labeled once for a recipe, whatever manifest, order or part size brings it."""

import json
import random
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ivm_data.engine.labeling import commit, read
from ivm_data.engine.labeling_run import LabelingRun, prepare, with_parts
from ivm_data.engine.outcomes import manifest_counts
from ivm_data.engine.pipeline import lineage_of
from ivm_data.experts import registry
from ivm_data.experts.registry import name_of
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan_records
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from storage.data_set import DataSet
from storage.errors import ShardError
from storage.upkeep.compact import compact
from storage.upkeep.digest import content_hash
from storage.upkeep.verify import verify


def test_ten_lines_more_cost_ten_pairs(photos, labelers, labeler, labeled, records):
    before = content_hash(labeler.data)
    files = {path: path.read_bytes() for path in labeler.data.rglob("*.parquet")}
    more = labelers.lines(*((image, 7) for image in range(8)), (6, 0), (6, 1))
    grown = labelers.write_manifest(photos, records + more)
    run = labeler.prepare(grown)
    assert (run.known, run.pairs) == (10, 20)
    assert labeler.label(grown) == 10
    assert len(labelers.counted(labeler.data)) == 20
    assert all(path.read_bytes() == content for path, content in files.items())
    assert content_hash(labeler.data) != before
    assert labeler.prepare(grown).open_parts() == []
    assert manifest_counts(run).statuses.total() == 20


@pytest.mark.parametrize("edit", ["inserted", "dropped", "moved", "blank", "blank at the end", "turned round"])
def test_an_edited_manifest_labels_what_is_new_alone(photos, labelers, labeler, labeled, records, edit):
    (new,) = labelers.lines((7, 7))
    edited = {
        "inserted": [*records[:4], new, *records[4:]],
        "dropped": records[:4] + records[5:],
        "moved": [*records[1:5], records[0], *records[5:]],
        "blank": [*records[:4], "  ", *records[4:]],
        "blank at the end": [*records, ""],
        "turned round": records[::-1],
    }[edit]
    hashed = content_hash(labeler.data)
    manifest = labelers.write_manifest(photos, edited)
    assert labeler.label(manifest) == (1 if edit == "inserted" else 0)
    assert len(labelers.counted(labeler.data)) == (11 if edit == "inserted" else 10)
    assert (content_hash(labeler.data) == hashed) == (edit != "inserted")
    assert labeler.label(manifest) == 0


def test_another_part_size_labels_nothing(labelers, labeler, labeled):
    for part_size in (1, 4, 64):
        run = labeler.prepare(labeled, part_size)
        assert (run.parts, run.known) == ((), 10)


def test_another_manifest_in_other_words_reads_the_images_once_and_labels_nothing(
    photos, labelers, labeler, labeled, records
):
    other = [json.dumps(dict(reversed(json.loads(line).items())) | {"extra": 1}) for line in records]
    manifest = labelers.write_manifest(photos, other, "other.jsonl")
    hashed = content_hash(labeler.data)
    assert labeler.prepare(manifest).known == 0
    assert labeler.label(manifest) == 0
    assert content_hash(labeler.data) == hashed
    assert labeler.prepare(manifest).open_parts() == []
    csv = photos / "table.csv"
    rows = [json.loads(line) for line in records]
    csv.write_text("image,instruction\n" + "".join(f"{row['image']},{row['instruction']}\n" for row in rows))
    assert labeler.label(csv, 64) == 0
    assert manifest_counts(labeler.prepare(csv, 64)).statuses.total() == 10


@pytest.mark.parametrize("part_size", [3, 64])
def test_the_same_bytes_under_two_names_are_one_image(tmp_path, photos, labelers, part_size):
    for index in range(3):
        (photos / f"copy_{index}.png").write_bytes((photos / f"{index}.png").read_bytes())
    pairs = [(name, 0) for name in (0, 1, 2, "copy_0", "copy_1", "copy_2")]
    manifest = labelers.write_manifest(photos, labelers.lines(*pairs))
    labeler = labelers.Labeler(tmp_path / f"d{part_size}")
    labeler.label(manifest, part_size)
    assert len(labelers.counted(labeler.data)) == 3
    assert labelers.sql(labeler.data, "SELECT count(*) AS n FROM labels") == [{"n": 3}]
    assert len(index_rows(labeler.data, RowsConfig(test_share=0))) <= 3
    with DataSet.open(labeler.data) as data:
        assert len(list(data.labels())) == 3


def test_an_edited_human_mask_is_labeled_anew_and_counts_instead(photos, labelers, labeler, labeled, records):
    def areas():
        return [
            row["human_area"] for row in labelers.sql(labeler.data, "SELECT human_area FROM labels WHERE has_human")
        ]

    def edited(*rows):
        (line,) = labelers.lines(labelers.PAIRS[4], targets=[{"mask_rle": labelers.encoded(rows)}])
        return labelers.write_manifest(photos, [*records[:4], line, *records[5:]])

    assert areas() == []
    for area, rows in ((16, [1]), (32, [1, 2])):
        assert labeler.label(edited(*rows)) == 1
        assert (areas(), len(labelers.counted(labeler.data))) == ([area], 10)
        assert labeler.label(edited(*rows)) == 0
    # Back to a mask that was there before, and to none at all: the manifest is right, not the last new line.
    assert labeler.label(edited(1)) == 1
    assert areas() == [16]
    assert labeler.label(labelers.write_manifest(photos, records)) == 1
    assert (areas(), len(labelers.counted(labeler.data))) == ([], 10)
    attempts = {part.partition("@")[2] for _, part in DataSet.open(labeler.data).light_of}
    assert attempts == {"", "1", "2", "3", "4"}


def test_words_that_a_manifest_states_are_seen_and_those_that_it_does_not_change_nothing(
    photos, labelers, labeler, labeled, records
):
    assert labeler.label(labelers.write_manifest(photos, labelers.lines(*labelers.PAIRS, kind="relation"))) == 10
    assert labelers.sql(labeler.data, "SELECT kind, count(*) AS n FROM labels GROUP BY ALL") == [
        {"kind": "relation", "n": 10}
    ]
    assert labeler.label(labelers.write_manifest(photos, records)) == 0
    assert labeler.label(labelers.write_manifest(photos, records[::-1], "copy.jsonl")) == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_any_order_of_manifests_part_sizes_and_attempts_counts_the_same(tmp_path, photos, labelers, seed):
    rng = random.Random(seed)
    for index in range(3):
        (photos / f"copy_{index}.png").write_bytes((photos / f"{index}.png").read_bytes())
    names = [*range(8), "copy_0", "copy_1", "copy_2"]
    every = [(name, instruction) for name in names for instruction in range(2)]
    whole = labelers.Labeler(tmp_path / "whole")
    whole.label(labelers.write_manifest(photos, labelers.lines(*every)), 64)
    expected = labelers.counted(whole.data)
    assert len(expected) == 16

    labeler = labelers.Labeler(tmp_path / "data")
    for turn in range(6):
        labeler.silent = {"Find ring 1."} if rng.random() < 0.4 else set()
        pairs = rng.sample(every, rng.randint(1, len(every))) if turn < 5 else every
        more = {} if rng.random() < 0.7 else {"note": rng.randint(0, 2)}
        manifest = labelers.write_manifest(photos, labelers.lines(*pairs, **more), rng.choice(["a.jsonl", "b.jsonl"]))
        again = ("not_rewritten",) if turn and rng.random() < 0.3 else ()
        labeler.label(manifest, rng.choice([1, 3, 5, 64]), again, old=rng.random() < 0.3)
        if rng.random() < 0.2:
            compact(labeler.data, target_rows=rng.choice([4, 1000]))
        labelers.counted(labeler.data)
    labeler.silent = set()
    manifest = labelers.write_manifest(photos, labelers.lines(*every))
    labeler.label(manifest)
    while "not_rewritten" in labelers.counted(labeler.data).values():
        assert labeler.label(manifest, again=("not_rewritten",))
    assert labelers.counted(labeler.data) == expected
    assert verify(labeler.data) == ()


def test_inputs_of_a_part_that_was_not_committed_say_nothing(photos, labelers, labeler, labeled, records):
    (light,) = [path for path in labeler.data.glob("labels/*/*.light.parquet") if "-00001." in path.name]
    light.unlink()
    assert labeler.label(labelers.write_manifest(photos, [*records, ""])) == 3
    assert len(labelers.counted(labeler.data)) == 10


def test_every_record_is_in_the_view_of_inputs(labelers, labeler, labeled):
    counts = "SELECT count(*) AS n, count(DISTINCT record) AS records"
    (row,) = labelers.sql(labeler.data, f"{counts} FROM inputs JOIN outcomes USING (recipe, sample_id)")
    assert row == {"n": 10, "records": 10}
    compact(labeler.data)
    assert len(list(labeler.data.glob("inputs/*/*.parquet"))) == 1
    assert labelers.sql(labeler.data, "SELECT count(*) AS n FROM inputs") == [{"n": 10}]
    assert labeler.prepare(labeled, 64).parts == ()
    (path,) = labeler.data.glob("inputs/*/*.parquet")
    assert pq.read_schema(path).metadata[b"ivm_schema"] == b"inputs"


def test_two_runs_at_once_over_one_manifest_leave_each_pair_once(photos, labelers, labeler, records):
    manifest = labelers.write_manifest(photos, records)
    first, second = labeler.prepare(manifest), labeler.prepare(manifest)
    for part in first.parts[:2]:
        assert labeler.part(first, part).fresh
    third = labeler.prepare(manifest)
    for run in (second, third, first):
        for part in run.parts:
            labeler.part(run, part)
    assert labeler.asked.total() == 10
    assert len(labelers.counted(labeler.data)) == 10


def test_a_part_that_two_runs_label_at_once_knowing_of_different_pairs_is_committed_once(
    photos, labelers, labeler, records
):
    manifest = labelers.write_manifest(photos, records)
    early = labeler.prepare(manifest, 64)
    labeler.label(labelers.write_manifest(photos, labelers.lines(*labelers.PAIRS[:4], note=1), "other.jsonl"))
    late = labeler.prepare(manifest, 64)
    readings = [read(run, run.parts[0]) for run in (late, early)]
    assert [len(reading.items) for reading in readings] == [6, 10]
    ended = [commit(run, labeler.result(reading)) for run, reading in zip((late, early), readings, strict=True)]
    assert [(each.fresh, each.rows, each.statuses.total()) for each in ended] == [(True, 10, 6), (False, 10, 10)]
    assert len(labelers.counted(labeler.data)) == 10
    # What is no matter of what was known is refused as ever.
    labeler.silent = {"Find ring 0."}
    with pytest.raises(ShardError, match="already committed with other contents"):
        commit(early, labeler.result(readings[1]))
    labeler.silent = set()
    compact(labeler.data)
    assert not commit(early, labeler.result(readings[1])).fresh


def test_the_experts_of_a_finished_manifest_are_not_loaded(photos, labelers, labeler, records):
    manifest = labelers.write_manifest(photos, records[:2])
    lineage = lineage_of(recipe("demo"), name_of)
    labeler.data.mkdir()
    run = with_parts(LabelingRun(labeler.data, (), recipe("demo"), lineage, plan=plan_records(manifest, 64)), ())
    result = labeler.result(read(run, run.parts[0]))
    outcomes = tuple(replace(one, lineage=lineage) for one in result.outcomes)
    commit(run, replace(result, recipe=lineage.recipe, outcomes=outcomes))
    registry.unload()
    ready = prepare(manifest, labeler.data, recipe("demo"), 64)
    assert (ready.open_parts(), ready.lineage) == ([], lineage)
    assert registry._loaded == {}
