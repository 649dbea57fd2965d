"""J, F and flicker on masks whose scores are known by hand."""

import numpy as np
import pytest

from ivm_data.evaluation.video_measures import outline, outline_f, score_video

SIDE = 100


def box(y0, x0, y1, x1):
    mask_HW = np.zeros((SIDE, SIDE), bool)
    mask_HW[y0:y1, x0:x1] = True
    return mask_HW


EMPTY = box(0, 0, 0, 0)
SQUARE = box(20, 20, 60, 60)


def test_the_truth_itself_is_perfect_also_where_it_is_empty():
    found = score_video([SQUARE, EMPTY, SQUARE], [SQUARE, EMPTY, SQUARE])
    assert (found.j, found.f, found.jf, found.flicker) == (1, 1, 1, 0)


def test_j_is_the_mean_overlap():
    found = score_video([box(20, 20, 60, 40), SQUARE, EMPTY], [SQUARE, SQUARE, SQUARE])
    assert found.j == pytest.approx((0.5 + 1 + 0) / 3)


def test_an_outline_may_lie_as_far_off_as_davis_allows_and_no_farther():
    # 0.008 of a diagonal of 141 pixels, rounded up: two.
    assert outline_f(np.roll(SQUARE, 2, axis=1), SQUARE) == 1
    away = outline_f(np.roll(SQUARE, 3, axis=1), SQUARE)
    assert 0.4 < away < 0.6, "upper and lower sides still lie on the true ones, left and right do not"
    assert outline_f(box(80, 80, 95, 95), SQUARE) == 0


def test_precision_and_recall_of_an_outline_both_count():
    two_HW = SQUARE | box(75, 75, 95, 95)
    edge, other = np.count_nonzero(outline(SQUARE)), np.count_nonzero(outline(box(75, 75, 95, 95)))
    assert outline_f(two_HW, SQUARE) == pytest.approx(2 * edge / (2 * edge + other))
    assert outline_f(SQUARE, two_HW) == pytest.approx(2 * edge / (2 * edge + other))


@pytest.mark.parametrize(("mask_HW", "truth_HW"), [(EMPTY, SQUARE), (SQUARE, EMPTY)])
def test_a_thing_that_is_missed_or_made_up_has_nothing(mask_HW, truth_HW):
    found = score_video([mask_HW], [truth_HW])
    assert (found.j, found.f, found.flicker) == (0, 0, 0)


def test_an_error_that_stays_does_not_flicker_and_one_that_comes_and_goes_does():
    half_HW = box(20, 20, 60, 40)
    steady = score_video([half_HW] * 4, [SQUARE] * 4)
    assert steady.flicker == 0 and steady.j == 0.5
    wild = score_video([half_HW, SQUARE, half_HW, SQUARE], [SQUARE] * 4)
    assert wild.flicker == pytest.approx(0.5) and wild.j > steady.j


def test_a_thing_that_moves_does_not_flicker_where_its_mask_follows():
    masks = [np.roll(SQUARE, step, axis=1) for step in range(0, 30, 3)]
    assert score_video(masks, masks).flicker == 0


@pytest.mark.parametrize(("masks", "truths"), [([], []), ([SQUARE], [SQUARE, SQUARE])])
def test_videos_that_do_not_pair_up_are_refused(masks, truths):
    with pytest.raises(ValueError, match="need a true mask for each"):
        score_video(masks, truths)
