import math

import numpy as np
import pytest

from ivm_model.metrics.mask_scores import (
    Overlap,
    auc,
    mean_interval,
    overlap,
    paired_win_rate,
    score_by_group,
    score_masks,
)


def _mask(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_two_empty_masks_agree_wholly():
    assert overlap(_mask("..", ".."), _mask("..", "..")).iou == 1.0


def test_ignored_pixels_count_in_neither_mask():
    ignore_HW = _mask(".#", ".#")
    assert overlap(_mask("##", ".."), _mask("#.", ".."), ignore_HW).iou == 1.0


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        overlap(_mask("##"), _mask("#"))


def test_giou_counts_samples_and_ciou_counts_pixels():
    scores = score_masks([Overlap(1, 1), Overlap(0, 99)])
    assert (scores.giou, scores.ciou, scores.found, scores.count) == (0.5, 0.01, 0.5, 2)


def test_the_interval_holds_the_mean_and_narrows_with_more_samples():
    value_N = np.random.default_rng(0).random(400)
    wide, narrow = mean_interval(value_N[:25]), mean_interval(value_N)
    assert wide[0] < value_N[:25].mean() < wide[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_the_interval_has_the_width_that_theory_gives():
    value_N = np.random.default_rng(1).normal(size=1000)
    low, high = mean_interval(value_N)
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(1000), rel=0.15)


def test_groups_are_scored_apart():
    by_group = score_by_group([Overlap(1, 1), Overlap(0, 1), Overlap(1, 1)], ["b", "a", "b"])
    assert list(by_group) == ["a", "b"]
    assert (by_group["a"].giou, by_group["b"].giou) == (0.0, 1.0)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        score_masks([])


def test_auc_is_one_for_order_half_for_ties_and_unknown_without_a_side():
    assert auc(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 1.0
    assert auc(np.ones(3), np.ones(4)) == 0.5
    assert math.isnan(auc(np.ones(3), np.ones(0)))


def test_the_win_rate_compares_pair_by_pair():
    assert paired_win_rate(np.array([0.9, 0.2, 0.5, 0.5]), np.array([0.1, 0.8, 0.5, 0.1])) == 0.625
