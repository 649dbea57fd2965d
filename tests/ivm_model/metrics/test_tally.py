import math

import numpy as np
import pytest

from ivm_model.metrics.tally import SCORES, differences, intervals, scores, tally


def mask(*columns, width=10):
    mask_HW = np.zeros((2, width), bool)
    mask_HW[:, list(columns)] = True
    return mask_HW


NOTHING = mask()


def value(rows, name):
    return float(scores(np.stack(rows).sum(0)[None])[0, SCORES.index(name)])


def test_an_empty_union_counts_one_and_adds_nothing_to_ciou():
    rows = [tally(NOTHING, NOTHING), tally(mask(0, 1), mask(1, 2))]
    assert value(rows, "giou") == pytest.approx((1 + 1 / 3) / 2)
    assert value(rows, "ciou") == pytest.approx(1 / 3)
    assert value([tally(NOTHING, NOTHING)], "ciou") == 1.0


def test_ignored_pixels_count_for_nobody_and_may_leave_no_target():
    ignore_HW = mask(4, 5)
    assert value([tally(mask(0, 4), mask(0, 5), ignore_HW)], "giou") == 1.0
    assert value([tally(mask(4), mask(5), ignore_HW)], "none_acc") == 1.0


def test_box_accuracy_looks_at_the_boxes_around_the_masks():
    rows = [tally(mask(0, 9), mask(*range(10)))]
    assert (value(rows, "acc"), value(rows, "box_acc")) == (0.0, 1.0)
    assert value([tally(NOTHING, mask(1))], "box_acc") == 0.0


def test_cgf1_is_positive_micro_f1_times_the_image_level_mcc_counted_by_hand():
    rows = [
        tally(mask(0, 1, 2, 3), mask(0, 1, 2, 3)),  # IoU 1: right at all ten thresholds
        tally(mask(0, 1, 2), mask(0, 1, 2, 3)),  # IoU 0.75: right at 0.5 to 0.75, six of ten
        tally(NOTHING, mask(3)),  # missed
        tally(mask(3), NOTHING),  # found where nothing is: in mcc, not in pmf1
        tally(NOTHING, NOTHING),
    ]
    pmf1 = np.mean([2 * hits / (2 + 3) for hits in [2] * 6 + [1] * 4])
    mcc = (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2)
    assert value(rows, "pmf1") == pytest.approx(pmf1)
    assert value(rows, "mcc") == pytest.approx(mcc)
    assert value(rows, "cgf1") == pytest.approx(pmf1 * mcc)


def test_a_system_that_always_finds_something_has_no_cgf1_and_without_absent_targets_it_is_not_defined():
    assert value([tally(mask(0), mask(0)), tally(mask(0), NOTHING)], "cgf1") == 0.0
    assert math.isnan(value([tally(mask(0), mask(0))], "cgf1"))


def test_an_iou_on_a_threshold_reaches_it():
    rows = [tally(mask(0, 1, 2), mask(0, 1, 2, 3, 4)), tally(NOTHING, NOTHING)]
    assert value(rows, "pmf1") == pytest.approx(3 / 10)


def test_intervals_are_drawn_over_images_so_that_repeated_samples_narrow_nothing():
    rng = np.random.default_rng(0)
    rows = np.stack([tally(mask(*range(rng.integers(1, 10))), mask(*range(10))) for _ in range(60)])
    images = [f"{i}" for i in range(60)]
    once, thrice = intervals(rows, images), intervals(np.repeat(rows, 3, axis=0), np.repeat(images, 3))
    assert once["giou"].low < once["giou"].value < once["giou"].high
    assert thrice["giou"].high - thrice["giou"].low == pytest.approx(once["giou"].high - once["giou"].low, rel=0.05)


def test_a_system_does_not_differ_from_itself_and_a_paired_difference_is_tighter_than_two_intervals():
    rng = np.random.default_rng(1)
    rows = np.stack([tally(mask(*range(rng.integers(2, 9))), mask(*range(10))) for _ in range(50)])
    worse = np.stack([tally(mask(*range(int(row[2] / 2) - 1)), mask(*range(10))) for row in rows])
    images = [str(i) for i in range(50)]
    same, change = differences(rows, rows, images)["giou"], differences(rows, worse, images)["giou"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert change.value == pytest.approx(change.low) == pytest.approx(change.high) == pytest.approx(0.1)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="empty set"):
        intervals(np.zeros((0, 20)), [])
