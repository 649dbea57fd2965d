from pathlib import Path

import numpy as np
import pytest

from ivm_model.data.dataset import DataConfig, decode_image, load_rows, split_rows, truth_iou
from storage import rle
from storage.errors import ConfigError
from storage.records import Status
from storage.reviews import Adjudication, append

IMAGE_HWC = np.zeros((16, 16, 3), np.uint8)
TOP_HW, LEFT_HW = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
TOP_HW[:8], LEFT_HW[:, :8] = True, True
EVERYTHING = DataConfig(test_share=0.0)


def test_a_human_mask_makes_a_human_row_that_trains_on_it_and_keeps_the_engines_label_for_audits(make_label):
    rows = split_rows([make_label(IMAGE_HWC, "Find it.", machine=LEFT_HW, human=TOP_HW)], EVERYTHING)
    (row,) = rows.human
    assert not rows.machine and not rows.test
    np.testing.assert_array_equal(rle.decode(row.mask), TOP_HW)
    np.testing.assert_array_equal(rle.decode(row.machine_mask), LEFT_HW)
    assert row.truth is None


def test_a_held_out_mask_never_trains(make_label):
    label = make_label(IMAGE_HWC, "Find it.", machine=LEFT_HW, human=TOP_HW, held_out=True)
    (row,) = split_rows([label], EVERYTHING).machine
    np.testing.assert_array_equal(rle.decode(row.mask), LEFT_HW)
    np.testing.assert_array_equal(rle.decode(row.truth), TOP_HW)


@pytest.mark.parametrize("status", Status)
def test_only_the_chosen_statuses_train(make_label, status):
    trained = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    label = make_label(IMAGE_HWC, "Find that.", machine=TOP_HW, status=status)
    rows = split_rows([trained, label], DataConfig(test_share=0.0, statuses=(Status.ACCEPTED,)))
    assert len(rows.machine) == 1 + (status is Status.ACCEPTED)


def test_a_test_source_only_scores_whatever_its_status(make_label):
    kept = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    scored = make_label(
        IMAGE_HWC, "Find that.", TOP_HW, human=TOP_HW, held_out=True, source="exam", status=Status.REJECTED
    )
    rows = split_rows([kept, scored], DataConfig(test_share=0.0, test_sources=("exam",)))
    assert [row.source for row in rows.test] == ["exam"] and [row.source for row in rows.machine] == ["squares"]


def test_no_image_is_on_both_the_training_and_the_test_side(make_label):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(40)]
    labels = [
        make_label(image, word, machine=TOP_HW, human=LEFT_HW, held_out=True) for image in images for word in "abc"
    ]
    rows = split_rows(labels, DataConfig(test_share=0.3))
    tested, trained = {row.image_key for row in rows.test}, {row.image_key for row in rows.machine}
    assert 4 <= len(tested) <= 20 and not tested & trained
    assert len(rows.test) == 3 * len(tested)


def test_rows_and_their_hash_do_not_depend_on_the_order_of_the_shards(labels):
    config = DataConfig(test_share=0.3)
    forward, backward = split_rows(labels, config), split_rows(reversed(labels), config)
    assert [row.sample_id for row in forward.train] == [row.sample_id for row in backward.train]
    assert forward.content_hash == backward.content_hash


def test_another_mask_gives_another_hash(make_label):
    hashes = {
        split_rows([make_label(IMAGE_HWC, "Find it.", machine=mask_HW)], EVERYTHING).content_hash
        for mask_HW in (TOP_HW, LEFT_HW)
    }
    assert len(hashes) == 2


def test_the_limit_on_rows_keeps_human_rows_first(labels):
    rows = split_rows(labels, DataConfig(test_share=0.0, max_rows=12))
    assert (len(rows.human), len(rows.machine)) == (10, 2)


def test_nothing_to_train_on_says_what_was_found(make_label):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW, status=Status.REJECTED)
    with pytest.raises(ConfigError, match="1 rejected"):
        split_rows([label], EVERYTHING)


def test_rows_come_back_from_shards_as_they_were(data: Path, labels):
    config = DataConfig(test_share=0.3)
    assert load_rows(data, config).content_hash == split_rows(labels, config).content_hash


def test_an_image_decodes_to_what_was_encoded(make_label):
    image_HWC = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    (row,) = split_rows([make_label(image_HWC, "Find it.", machine=TOP_HW)], EVERYTHING).machine
    np.testing.assert_array_equal(decode_image(row), image_HWC)


def test_truth_iou_is_unknown_without_truth(make_label):
    labels = [
        make_label(IMAGE_HWC, "a", machine=TOP_HW),
        make_label(IMAGE_HWC, "b", machine=TOP_HW, human=TOP_HW, held_out=True),
    ]
    machine = split_rows(labels, EVERYTHING).machine
    by_word = dict(zip([row.instruction for row in machine], truth_iou(machine), strict=True))
    assert np.isnan(by_word["a"]) and by_word["b"] == 1.0


@pytest.mark.parametrize("wrong", [{"test_share": 1.0}, {"max_rows": 1}, {"statuses": ()}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        DataConfig(**wrong)


@pytest.mark.parametrize("status", Status)
def test_a_label_that_a_person_found_right_trains_as_a_human_one_whatever_its_status(make_label, status):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW, status=status)
    (row,) = split_rows([label], EVERYTHING, reviewed={label.sample.id: Adjudication("right")}).human
    assert (row.origin, row.mask) == ("human", label.mask)


def test_a_corrected_mask_trains_in_place_of_the_engines(make_label):
    label = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    ruling = Adjudication("corrected", rle.encode(LEFT_HW))
    rows = split_rows([label], EVERYTHING, reviewed={label.sample.id: ruling})
    assert [row.mask for row in rows.human] == [ruling.mask] and not rows.machine
    assert rows.human[0].machine_mask == label.mask


def test_what_a_person_found_wrong_does_not_train_but_a_human_mask_does(make_label):
    machine = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    human = make_label(IMAGE_HWC, "Find that.", machine=TOP_HW, human=LEFT_HW)
    ids = (machine.sample.id, human.sample.id)
    rows = split_rows([machine, human], EVERYTHING, reviewed=dict.fromkeys(ids, Adjudication("wrong")))
    assert [row.sample_id for row in rows.train] == [human.sample.id]
    with pytest.raises(ConfigError, match="nothing to train on"):
        split_rows([machine, human], EVERYTHING, reviewed=dict.fromkeys(ids, Adjudication("wrong_instruction")))


@pytest.mark.parametrize("verdict", ["right", "corrected", "wrong", "wrong_instruction"])
def test_reviews_change_nothing_on_the_test_side(make_label, verdict):
    kept = make_label(IMAGE_HWC, "Find it.", machine=TOP_HW)
    label = make_label(IMAGE_HWC, "Find that.", TOP_HW, human=LEFT_HW, held_out=True, source="exam")
    config = DataConfig(test_share=0.0, test_sources=("exam",))
    ruling = Adjudication(verdict, rle.encode(TOP_HW))
    reviewed = split_rows([kept, label], config, reviewed={label.sample.id: ruling})
    assert reviewed == split_rows([kept, label], config) or reviewed.test[0].truth == label.sample.human_mask
    assert len(reviewed.test) == 1 and len(reviewed.train) == 1


def test_reviews_in_shards_reach_the_training(data: Path, labels):
    config = DataConfig(test_share=0.0)
    before = load_rows(data, config)
    chosen = before.machine[0]
    append(data, chosen.recipe, chosen.sample_id, "ada", "right")
    after = load_rows(data, config)
    assert len(after.human) == len(before.human) + 1 and len(after.machine) == len(before.machine) - 1
    append(data, chosen.recipe, chosen.sample_id, "ada", "withdrawn")
    assert load_rows(data, config).content_hash == before.content_hash
