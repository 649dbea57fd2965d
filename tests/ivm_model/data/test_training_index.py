"""What trains and what scores, whatever people and rules said."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import hold_back, index_rows
from ivm_model.data.training_rows import RowsConfig, truth_iou
from storage.data_set import DataSet
from storage.errors import ConfigError, IvmWarning
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import PartResult, Status, image_sha
from storage.tables.decisions import FoundLabel, decide
from storage.tables.reviews import append
from storage.upkeep.compact import compact

IMAGE_HWC = np.zeros((16, 16, 3), np.uint8)
TOP_HW, LEFT_HW = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
TOP_HW[:8], LEFT_HW[:, :8] = True, True
EVERYTHING, CONFIG = RowsConfig(test_share=0.0), RowsConfig(test_share=0.3)


def test_a_human_mask_makes_a_human_row_that_trains_on_it_and_keeps_the_engines_label_for_audits(make_label, split):
    rows = split([make_label(IMAGE_HWC, "Find it.", machine=LEFT_HW, human=TOP_HW)], EVERYTHING)
    (row,) = rows.human
    assert not rows.machine and not rows.test
    np.testing.assert_array_equal(rle.decode(row.mask), TOP_HW)
    np.testing.assert_array_equal(rle.decode(row.machine_mask), LEFT_HW)
    assert row.truth is None


def test_a_held_out_mask_never_trains(make_label, split):
    label = make_label(IMAGE_HWC, "Find it.", machine=LEFT_HW, human=TOP_HW, held_out=True)
    (row,) = split([label], EVERYTHING).machine
    np.testing.assert_array_equal(rle.decode(row.mask), LEFT_HW)
    np.testing.assert_array_equal(rle.decode(row.truth), TOP_HW)


@pytest.mark.parametrize("status", Status)
def test_only_the_chosen_statuses_train(make_label, split, status):
    trained = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    label = make_label(IMAGE_HWC, "Find that.", machine=TOP_HW, status=status)
    rows = split([trained, label], RowsConfig(test_share=0.0, statuses=(Status.ACCEPTED,)))
    assert len(rows.machine) == 1 + (status is Status.ACCEPTED)


def test_a_test_source_only_scores_whatever_its_status(make_label, split):
    kept = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    scored = make_label(
        IMAGE_HWC, "Find that.", TOP_HW, human=TOP_HW, held_out=True, source="exam", status=Status.REJECTED
    )
    rows = split([kept, scored], RowsConfig(test_share=0.0, test_sources=("exam",)))
    assert [row.source for row in rows.test] == ["exam"] and [row.source for row in rows.machine] == ["squares"]


def test_no_image_is_on_both_the_training_and_the_test_split(make_label, split):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(40)]
    labels = [
        make_label(image, word, machine=TOP_HW, human=LEFT_HW, held_out=True) for image in images for word in "abc"
    ]
    rows = split(labels, RowsConfig(test_share=0.3))
    tested, trained = {row.image_sha for row in rows.test}, {row.image_sha for row in rows.machine}
    assert 4 <= len(tested) <= 20 and not tested & trained
    assert len(rows.test) == 3 * len(tested)


def test_rows_their_groups_and_their_hash_do_not_depend_on_a_compaction(labels, tmp_path):
    for part in range(5):
        commit_part(tmp_path, PartResult(f"part-{part}", "recipe", tuple(labels[6 * part : 6 * part + 6])))
    config = RowsConfig(test_share=0.3)
    before = index_rows(tmp_path, config)
    compact(tmp_path, target_rows=18)
    after = index_rows(tmp_path, config)
    assert len(after.shards) < len(before.shards) and after.content_hash == before.content_hash
    assert after.words("sample_id").tolist() == before.words("sample_id").tolist()
    assert after.groups.tolist() == before.groups.tolist() == sorted(before.groups)


def test_another_mask_gives_another_hash(make_label, commit):
    hashes = {
        index_rows(commit([make_label(IMAGE_HWC, "Find it.", machine=mask_HW)], name), EVERYTHING).content_hash
        for name, mask_HW in (("top", TOP_HW), ("left", LEFT_HW))
    }
    assert len(hashes) == 2


def test_the_limit_on_rows_keeps_human_rows_first_and_is_reported(labels, commit):
    data = commit(labels)
    every = index_rows(data, CONFIG)
    training = len(every.human) + len(every.machine)
    with pytest.warns(IvmWarning, match=rf"'rows.max_rows' leaves {training - 12} of {training} training rows out"):
        index = index_rows(data, RowsConfig(test_share=0.3, max_rows=12))
    assert (len(index.human), len(index.machine), index.thinned) == (10, 2, {"rows.max_rows": (training, 12)})
    assert len(index.of("test")) == len(every.of("test")) > 1


def test_nothing_to_train_on_says_what_was_found(make_label, split):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW, status=Status.REJECTED)
    with pytest.raises(ConfigError, match="1 rejected"):
        split([label], EVERYTHING)


def test_an_image_decodes_to_what_was_encoded(make_label, split):
    image_HWC = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    (row,) = split([make_label(image_HWC, "Find it.", machine=TOP_HW)], EVERYTHING).machine
    np.testing.assert_array_equal(decode(row.image), image_HWC)


def test_truth_iou_is_unknown_without_truth(make_label, split):
    labels = [
        make_label(IMAGE_HWC, "a", machine=TOP_HW),
        make_label(IMAGE_HWC, "b", machine=TOP_HW, human=TOP_HW, held_out=True),
    ]
    machine = split(labels, EVERYTHING).machine
    by_word = dict(zip([row.instruction for row in machine], truth_iou(machine), strict=True))
    assert np.isnan(by_word["a"]) and by_word["b"] == 1.0


@pytest.mark.parametrize("wrong", [{"test_share": 1.0}, {"max_rows": 1}, {"statuses": ()}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        RowsConfig(**wrong)


def reviewed(data: Path, label, verdict: str, mask_HW: np.ndarray | None = None) -> None:
    append(data, "recipe", label.sample.id, "ada", verdict, mask=None if mask_HW is None else rle.encode(mask_HW))


@pytest.mark.parametrize("status", Status)
def test_a_label_that_a_person_found_right_trains_as_a_human_one_whatever_its_status(
    make_label, commit, read_rows, status
):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW, status=status)
    reviewed(data := commit([label]), label, "right")
    (row,) = read_rows(index_rows(data, EVERYTHING)).human
    assert (row.origin, row.mask) == ("human", label.mask)


def test_a_corrected_mask_trains_in_place_of_the_engines(make_label, commit, read_rows):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    reviewed(data := commit([label]), label, "wrong", LEFT_HW)
    rows = read_rows(index_rows(data, EVERYTHING))
    assert [row.mask for row in rows.human] == [rle.encode(LEFT_HW)] and not rows.machine
    assert rows.human[0].machine_mask == label.mask


def test_what_a_person_found_wrong_does_not_train_but_a_human_mask_does(make_label, commit, read_rows):
    machine = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    human = make_label(IMAGE_HWC, "Find that.", machine=TOP_HW, human=LEFT_HW)
    data = commit([machine, human])
    for label in (machine, human):
        reviewed(data, label, "wrong")
    assert [row.sample_id for row in read_rows(index_rows(data, EVERYTHING)).train] == [human.sample.id]
    for label in (machine, human):
        reviewed(data, label, "wrong_instruction")
    with pytest.raises(ConfigError, match="nothing to train on"):
        index_rows(data, EVERYTHING)


@pytest.mark.parametrize("verdict", ["right", "wrong", "wrong_instruction"])
def test_reviews_change_nothing_on_the_test_split(make_label, commit, read_rows, verdict):
    kept = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    label = make_label(IMAGE_HWC, "Find that.", TOP_HW, human=LEFT_HW, held_out=True, source="exam")
    reviewed(data := commit([kept, label]), label, verdict, TOP_HW if verdict == "wrong" else None)
    rows = read_rows(index_rows(data, RowsConfig(test_share=0.0, test_sources=("exam",))))
    assert [(row.mask, row.truth) for row in rows.test] == [(label.mask, label.sample.human_mask)]
    assert len(rows.train) == 1


def test_reviews_and_decisions_reach_the_rows_and_their_hash(data: Path, read_rows):
    before = read_rows(index_rows(data, CONFIG))
    for scope, place in (("mask", 0), ("sample", 1)):
        found = [FoundLabel("recipe", row.sample_id, "seen") for row in (before.machine[place], before.human[place])]
        found.append(FoundLabel("recipe", before.test[place].sample_id, "seen"))
        decide(data, scope, scope, "exclude", found, parameters={}, who="test")
    for verdict, place in (("right", 2), ("wrong", 3), ("wrong_instruction", 4), ("unsure", 5)):
        for row in (before.machine[place], before.human[place]):
            append(data, "recipe", row.sample_id, "someone", verdict)
    after = read_rows(index := index_rows(data, CONFIG))
    gone = {row.sample_id for row in before.train} - {row.sample_id for row in after.train}
    lost = (*before.machine[:2], before.human[1], before.machine[3], before.machine[4], before.human[4])
    assert gone == {row.sample_id for row in lost} and len(after.test) == len(before.test)
    assert index.reviewed.keys() == {before.machine[2].sample_id}


def test_what_people_and_rules_say_is_part_of_the_hash(data: Path, read_rows):
    row = read_rows(index_rows(data, CONFIG)).machine[0]
    hashes = [index_rows(data, CONFIG).content_hash]
    for mask in (None, rle.encode(np.zeros((64, 64), bool)), rle.encode(np.ones((64, 64), bool))):
        append(data, "recipe", row.sample_id, "someone", "wrong" if mask else "right", mask=mask)
        hashes.append(index_rows(data, CONFIG).content_hash)
    decide(data, "rule", "sample", "exclude", [FoundLabel("recipe", row.sample_id, "")], parameters={}, who="test")
    hashes.append(index_rows(data, CONFIG).content_hash)
    assert len(set(hashes)) == 5
    append(data, "recipe", row.sample_id, "someone", "withdrawn")
    decide(data, "rule", "sample", "include", [FoundLabel("recipe", row.sample_id, "")], parameters={}, who="test")
    assert index_rows(data, CONFIG).content_hash == hashes[0]


def test_the_rows_of_a_snapshot_stay_the_same(data: Path, grow, read_rows):
    config = dataclasses.replace(CONFIG, snapshot=DataSet.open(data).freeze().name[:8])
    before = index_rows(data, CONFIG)
    truths = [row.truth for row in read_rows(before).test]
    grow(data)
    assert index_rows(data, CONFIG).content_hash != before.content_hash
    for _ in range(2):
        then = index_rows(data, config)
        assert then.content_hash == before.content_hash
        assert then.words("sample_id").tolist() == before.words("sample_id").tolist()
        assert [row.truth for row in read_rows(then).test] == truths
        compact(data)


def test_an_unknown_snapshot_names_the_known_ones(data: Path):
    name = DataSet.open(data).freeze().name
    with pytest.raises(ConfigError, match=f"named 'zz'; there are: {name}"):
        index_rows(data, dataclasses.replace(CONFIG, snapshot="zz"))


@pytest.mark.parametrize("limit", [3, 500])
def test_images_that_validate_do_not_train(data: Path, limit):
    index = index_rows(data, RowsConfig(test_share=0.0))
    split = hold_back(index, 0.5, limit)
    held, left = split.of("validation"), split.of("human", "machine")
    assert 1 <= len(held) <= limit and len(left.human) + len(held) == 10
    assert not set(held.words("image_sha")) & set(left.words("image_sha"))
    assert left.content_hash != index.content_hash == index_rows(data, RowsConfig(test_share=0.0)).content_hash
    assert hold_back(index, 0.5, limit).of("human", "machine").content_hash == left.content_hash
    assert ("run.validation_rows" in split.thinned) == (limit == 3)


def test_a_validation_row_is_scored_by_the_mask_that_it_would_have_trained(data: Path, read_rows):
    index = index_rows(data, RowsConfig(test_share=0.0))
    masks = {row.sample_id: row.mask for row in read_rows(index).human}
    held = hold_back(index, 0.5, 500).of("validation")
    for row in RowReader(held, 1).rows(range(len(held)), {}):
        assert row.origin == "human" and row.truth == row.mask == masks[row.sample_id]


@pytest.mark.parametrize("share", [1e-12, 0.9999999])
def test_a_share_that_leaves_one_side_empty_is_refused(data: Path, share):
    with pytest.raises(ConfigError, match="of 10 human rows"):
        hold_back(index_rows(data, RowsConfig(test_share=0.0)), share, 500)


def test_a_row_is_what_its_label_says(labels, data: Path, read_rows):
    rows = {row.sample_id: row for row in read_rows(index_rows(data, EVERYTHING)).train}
    assert rows.keys() == {label.sample.id for label in labels}
    for label in labels:
        sample, row = label.sample, rows[label.sample.id]
        assert (row.image, row.instruction, row.kind, row.recipe) == (
            sample.image,
            sample.instruction,
            "attribute",
            "recipe",
        )
        assert row.image_sha == image_sha(sample.image)
