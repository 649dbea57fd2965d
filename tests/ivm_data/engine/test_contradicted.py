"""Records that contradict each other about a pair, at once or one after the other: none of them counts."""

import itertools
import random

import pytest

from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.records import Status, sample_id
from storage.upkeep.compact import compact
from storage.upkeep.verify import verify

EVERY = RowsConfig(statuses=(Status.ACCEPTED, Status.REVIEW), test_share=0)


def target(first, stop):
    """What a record says whose target are the rows of pixels from `first` to before `stop`."""
    counts = [16 * first, 16 * (stop - first), 16 * (16 - stop)]
    return {"targets": [{"mask_rle": {"size": [16, 16], "counts": counts}}]}


ONE, OTHER = target(0, 2), target(5, 9)


def human_areas(data):
    with Catalog(data) as catalog:
        return [row["human_area"] for row in catalog.sql("SELECT human_area FROM labels WHERE has_human").to_pylist()]


def settled(labelers, labeler, manifest, part_size=3):
    """Sample id -> outcome; nothing is left to do, and it stays so after a compaction."""
    assert labeler.label(manifest, part_size) == 0
    run = labeler.prepare(manifest, part_size)
    assert run.open_parts() == []
    assert run.known == run.pairs
    assert verify(labeler.data) == ()
    return labelers.counted(labeler.data)


@pytest.fixture
def others(labelers):
    return labelers.lines((1, 0), (2, 0), (3, 0))


@pytest.mark.parametrize("part_size", [3, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 64))])
def test_a_label_that_an_appended_line_contradicts_does_not_count_until_the_line_is_gone(
    photos, labelers, labeler, others, part_size
):
    (first,), (second,) = labelers.lines((0, 0), **ONE), labelers.lines((0, 0), **OTHER)
    alone = [first, *others]
    manifest = labelers.write_manifest(photos, alone)
    assert labeler.label(manifest, part_size) == 4
    assert human_areas(labeler.data) == [32]
    for turn in range(2):
        assert labeler.label(labelers.write_manifest(photos, [*alone, second]), part_size) == 0
        ended = settled(labelers, labeler, manifest, part_size)
        assert (human_areas(labeler.data), len(index_rows(labeler.data, EVERY))) == ([], 3)
        assert sorted(ended.values()).count("conflicting_targets") == 2
        if turn:
            compact(labeler.data)
            assert settled(labelers, labeler, manifest, part_size) == ended
        # The contradiction is taken back: the label is made anew, and its rejection counts no more.
        assert labeler.label(labelers.write_manifest(photos, alone), part_size) == 1
        ended = settled(labelers, labeler, manifest, part_size)
        assert human_areas(labeler.data) == [32]
        assert len(index_rows(labeler.data, EVERY)) == 4
    with Catalog(labeler.data) as catalog:
        gone = catalog.sql("SELECT outcome, count(*) AS n FROM superseded GROUP BY ALL").to_pylist()
    assert {row["outcome"]: row["n"] for row in gone} == {"label": 2, "rejection": 2}


@pytest.mark.slow
def test_what_is_left_of_a_contradiction_may_be_the_other_line(photos, labelers, labeler, others):
    (first,), (second,) = labelers.lines((0, 0), **ONE), labelers.lines((0, 0), **OTHER)
    for records, asked, areas in (
        ([first, *others], 4, [32]),
        ([first, *others, second], 0, []),
        ([*others, second], 1, [64]),
        ([second, *others, first], 0, []),
        ([first, *others], 1, [32]),
    ):
        manifest = labelers.write_manifest(photos, records)
        assert labeler.label(manifest) == asked
        settled(labelers, labeler, manifest)
        assert human_areas(labeler.data) == areas


def test_a_held_out_line_without_a_target_takes_the_label_back_too(photos, labelers, labeler, others):
    (first,), (held,) = labelers.lines((0, 0), **ONE), labelers.lines((0, 0), held_out=True)
    labeler.label(labelers.write_manifest(photos, [first, *others]))
    manifest = labelers.write_manifest(photos, [first, *others, held])
    assert labeler.label(manifest) == 0
    settled(labelers, labeler, manifest)
    assert human_areas(labeler.data) == []


def test_labels_without_inputs_are_contradicted_too(photos, labelers, labeler, others):
    (first,), (second,) = labelers.lines((0, 0), **ONE), labelers.lines((0, 0), **OTHER)
    labeler.label(labelers.write_manifest(photos, [first, *others]), old=True)
    manifest = labelers.write_manifest(photos, [first, *others, second])
    assert labeler.label(manifest) == 0
    settled(labelers, labeler, manifest)
    assert human_areas(labeler.data) == []


def test_a_missing_image_that_is_contradicted_is_rejected_once(photos, labelers, labeler, others):
    (first,), (second,) = labelers.lines(("none", 0), **ONE), labelers.lines(("none", 0), **OTHER)
    labeler.label(labelers.write_manifest(photos, [first, *others]))
    manifest = labelers.write_manifest(photos, [first, *others, second])
    assert labeler.label(manifest) == 0
    ended = settled(labelers, labeler, manifest)
    assert sorted(ended.values()).count("conflicting_targets") == 2
    assert "image_missing" not in ended.values()


SAID = {"none": {}, "one": ONE, "other": OTHER, "held": {"held_out": True}, "held one": ONE | {"held_out": True}}
CONFLICTS = {("one", "other"), ("other", "held one"), ("one", "held"), ("other", "held")}
PAIRS = list(itertools.permutations(SAID, 2))


def expected(first, second):
    """What counts of two records of a pair: (held out, human area) of the label, or None where they conflict."""
    if (first, second) in CONFLICTS or (second, first) in CONFLICTS:
        return None
    winner = max((first, second), key=["none", "one", "other", "held", "held one"].index)
    return winner.startswith("held"), {"none": 0, "held": 0, "other": 64}.get(winner, 32)


def labels(data):
    with Catalog(data) as catalog:
        query = "SELECT held_out, coalesce(human_area, 0) AS area FROM labels WHERE instruction = 'Find ring 0.'"
        return [(row["held_out"], row["area"]) for row in catalog.sql(query).to_pylist()]


def twins(photos, labelers, first, second):
    """Records of the same bytes under two names, in the first and the last part of three."""
    (photos / "copy.png").write_bytes((photos / "0.png").read_bytes())
    (one,), (two,) = labelers.lines((0, 0), **SAID[first]), labelers.lines(("copy", 0), **SAID[second])
    return [one, *labelers.lines((1, 1), (2, 1), (3, 1)), two]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("runs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_of_two_names_of_the_same_bytes_the_right_one_counts(photos, labelers, labeler, first, second, runs):
    records = twins(photos, labelers, first, second)
    if runs == 2:
        labeler.label(labelers.write_manifest(photos, records[:-1]), 2)
    manifest = labelers.write_manifest(photos, records)
    asked = labeler.label(manifest, 2)
    assert asked <= (5 if runs == 1 else 1)
    right = expected(first, second)
    assert labels(labeler.data) == ([] if right is None else [right])
    settled(labelers, labeler, manifest, 2)
    assert labels(labeler.data) == ([] if right is None else [right])


@pytest.mark.parametrize("turned", [False, True])
def test_twins_of_a_run_that_was_killed_before_it_settled_them(photos, labelers, labeler, turned):
    records = twins(photos, labelers, "held one", "one")
    manifest = labelers.write_manifest(photos, records[::-1] if turned else records)
    run = labeler.prepare(manifest, 2)
    for part in run.parts:
        labeler.part(run, part)
    assert labels(labeler.data) == [(True, 32)]
    assert labeler.label(manifest, 2) == 0
    assert labels(labeler.data) == [(True, 32)]
    settled(labelers, labeler, manifest, 2)


def test_a_twin_in_another_manifest_does_not_let_a_held_out_pair_be_trained_on(photos, labelers, labeler):
    records = twins(photos, labelers, "held one", "one")
    labeler.label(labelers.write_manifest(photos, records[:1], "held.jsonl"))
    manifest = labelers.write_manifest(photos, records[1:], "train.jsonl")
    assert labeler.label(manifest, 2) == 3
    settled(labelers, labeler, manifest, 2)
    assert labels(labeler.data) == [(True, 32)]


def test_a_record_that_is_held_out_no_more_may_be_trained_on(photos, labelers, labeler, others):
    (held,), (free,) = labelers.lines((0, 0), held_out=True, **ONE), labelers.lines((0, 0), **ONE)
    labeler.label(labelers.write_manifest(photos, [held, *others]))
    manifest = labelers.write_manifest(photos, [free, *others])
    assert labeler.label(manifest) == 1
    settled(labelers, labeler, manifest)
    assert sorted(labels(labeler.data)) == [(False, 0)] * 3 + [(False, 32)]


def test_again_asks_for_the_record_that_counts(photos, labelers, labeler):
    records = twins(photos, labelers, "one", "held one")
    manifest = labelers.write_manifest(photos, records)
    labeler.silent = {"Find ring 0."}
    labeler.label(manifest, 2)
    labeler.silent = set()
    labeler.label(manifest, 2)
    labeler.label(manifest, 2, again=("not_rewritten",))
    assert labels(labeler.data) == [(True, 32)]


@pytest.mark.parametrize(
    "order", [(0, 1, 2), *(pytest.param(order, marks=pytest.mark.slow) for order in ((0, 2, 1), (1, 0, 2)))]
)
def test_three_names_of_which_one_contradicts_the_others(photos, labelers, labeler, order):
    for name in ("copy", "more"):
        (photos / f"{name}.png").write_bytes((photos / "0.png").read_bytes())
    names, said = ("copy", "more", 0), (ONE, OTHER, ONE)
    records = [labelers.lines((names[at], 0), **said[at])[0] for at in order]
    manifest = labelers.write_manifest(photos, records)
    labeler.label(manifest, 1)
    assert labels(labeler.data) == []
    ended = settled(labelers, labeler, manifest, 1)
    assert list(ended.values()) == ["conflicting_targets"] * 3
    # Without the odd one the two others are one again.
    left = labelers.write_manifest(photos, [record for record in records if '"more.png"' not in record])
    assert labeler.label(left, 1) in (1, 2)
    settled(labelers, labeler, left, 1)
    assert labels(labeler.data) == [(False, 32)]


def test_a_data_set_of_twins_without_inputs_counts_the_held_out_one(photos, labelers, labeler):
    for records in (twins(photos, labelers, "one", "held one"), twins(photos, labelers, "held one", "one")):
        apart = labelers.Labeler(labeler.data.with_name(f"{len(list(photos.parent.iterdir()))}"))
        manifest = labelers.write_manifest(photos, records)
        apart.label(manifest, 2, old=True)
        with DataSet.open(apart.data) as data:
            assert [label.sample.held_out for label in data.labels() if label.sample.human_mask] == [True]
        apart.label(labelers.write_manifest(photos, [*records, *labelers.lines((7, 7))]), 2)
        assert labels(apart.data) == [(True, 32)]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_an_edited_manifest_ends_as_one_that_was_labeled_anew(tmp_path, photos, labelers, labeler, seed):
    rng = random.Random(seed)
    for index in range(3):
        (photos / f"copy_{index}.png").write_bytes((photos / f"{index}.png").read_bytes())
    for _ in range(5):
        names = rng.choices([*range(5), "copy_0", "copy_1", "copy_2"], k=rng.randint(3, 9))
        said = rng.choices(["none", "one", "other"], k=len(names))
        records = [labelers.lines((name, 0), **SAID[what])[0] for name, what in zip(names, said, strict=True)]
        # Twins of a name that contradicts itself within a manifest are another matter: one of them may be labeled.
        several = {name: record for name, record in zip(names, records, strict=True) if name not in (3, 4)}
        records = [record for name, record in zip(names, records, strict=True) if several.get(name, record) == record]
        manifest = labelers.write_manifest(photos, records)
        labeler.label(manifest, rng.choice([1, 2, 3, 64]), old=rng.random() < 0.1)
        if rng.random() < 0.2:
            compact(labeler.data)
    labeler.label(manifest, 2)
    settled(labelers, labeler, manifest, 2)
    anew = labelers.Labeler(tmp_path / "anew")
    anew.label(manifest, 2)
    assert of_samples(labeler.data) >= of_samples(anew.data)
    contradicted = {sample for sample, _, _ in of_samples(labeler.data) - of_samples(anew.data)}
    named = {sample_id((photos / f"{name}.png").read_bytes(), "Find ring 0.") for name in names}
    assert not contradicted & named


def of_samples(data):
    with Catalog(data) as catalog:
        query = "SELECT sample_id, held_out, coalesce(human_area, 0) AS area FROM labels"
        return {tuple(row.values()) for row in catalog.sql(query).to_pylist()}
