import numpy as np
import pytest

from ivm_data.quality.fit_calibration import calibrate, fit_logistic
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Label, Lineage, Proposal, Sample, Scores, Status
from storage.request import Request
from storage.reviews import Adjudication

LEFT, RIGHT = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
LEFT[:, :4], RIGHT[:, 4:] = True, True


def label(name, sure=0.5, *, mask=LEFT, truth=None, absent=False, held_out=False):
    masks = [] if absent else [rle.encode(mask), rle.encode(RIGHT)]
    human = None if truth is None else rle.encode(truth)
    return Label(
        sample=Sample(name, b"", "", 8, 4, "Find it.", "photos", human_mask=human, held_out=held_out),
        request=Request.of(("it",), "", ""),
        candidates=(),
        proposals=tuple(Proposal(f"e{i}@1", m, 0.5, support=sure) for i, m in enumerate(masks)),
        mask=rle.encode(np.zeros_like(LEFT) if absent else mask),
        scores=Scores(presence=sure, grounding=sure, quality=0.5),
        status=Status.REVIEW,
        reason="uncertain",
        lineage=Lineage("3f9c0a51d2e7", ()),
    )


def test_rows_of_one_kind_cannot_be_calibrated_on():
    with pytest.raises(ConfigError, match="needs right and wrong human rows, got 3 rows, 3 of them right"):
        fit_logistic(("grounding",), [Scores(grounding=0.5)] * 3, [True] * 3)


def test_reviews_calibrate_as_human_masks_do():
    sure, unsure = [label(f"a{i}", 0.9) for i in range(9)], [label(f"b{i}", 0.1) for i in range(9)]
    said = {one.sample.id: Adjudication("right") for one in sure} | {
        one.sample.id: Adjudication("wrong") for one in unsure
    }
    fixed = {one.sample.id: Adjudication("corrected", rle.encode(RIGHT)) for one in unsure}
    for reviewed in (said, said | fixed):
        found = calibrate([*sure, *unsure, label("c")], reviewed)
        assert found.rows == (18, 0)
        assert found.mask.probability(Scores(grounding=0.9, presence=0.9)) > 0.8
        assert found.mask.probability(Scores(grounding=0.1, presence=0.1)) < 0.2
    by_mask = [label(f"a{i}", 0.9, truth=LEFT) for i in range(9)] + [label(f"b{i}", 0.1, truth=RIGHT) for i in range(9)]
    assert calibrate(by_mask).mask == found.mask
    # The second expert always said RIGHT: nothing tells so where a mask is only wrong, and a fixed one does.
    assert set(found.proposers) == {"e0@1", "e1@1"} and set(calibrate([*sure, *unsure], said).proposers) == set()


def test_what_people_said_outweighs_the_mask_that_came_along_and_held_out_labels_stay_out():
    rows = [
        label("a", truth=RIGHT),
        label("b", truth=LEFT),
        label("c", truth=LEFT),
        label("d", truth=LEFT, held_out=True),
    ]
    said = {
        "a": Adjudication("right"), "b": Adjudication("wrong"), "c": Adjudication("wrong_instruction"),
        "d": Adjudication("wrong"),
    }  # fmt: skip
    found = calibrate(rows, said)
    assert found.rows == (2, 0)
    assert found.mask.probability(Scores(grounding=0.5)) == pytest.approx(0.5), "one is right and one is wrong"


def test_absences_of_one_kind_give_the_share_that_is_right_with_one_more_of_each():
    masks = [label("a", truth=LEFT), label("b", truth=RIGHT)]
    assert calibrate(masks).absent.probability(Scores(presence=0.1)) == pytest.approx(0.5)
    right = [label(f"n{i}", absent=True) for i in range(3)]
    found = calibrate([*masks, *right], {one.sample.id: Adjudication("right") for one in right})
    assert found.rows == (2, 3)
    assert found.absent.probability(Scores(presence=0.9)) == pytest.approx(4 / 5)
    wrong = calibrate([*masks, *right], {one.sample.id: Adjudication("corrected", rle.encode(LEFT)) for one in right})
    assert wrong.absent.probability(Scores(presence=0.9)) == pytest.approx(1 / 5)
    both = {"n0": Adjudication("right"), "n1": Adjudication("wrong"), "n2": Adjudication("wrong")}
    assert calibrate([*masks, *right], both).absent.weight == (0.0, 0.0), "the scores do not differ"
