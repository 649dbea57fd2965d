import math

import numpy as np
import pytest

from ivm_model.discriminator.reliability_bins import calibration_error, reliability


def test_draws_from_the_stated_probability_are_calibrated():
    rng = np.random.default_rng(0)
    d_M = rng.random(20_000)
    bins = reliability(d_M, rng.random(20_000) < d_M, np.ones(20_000))
    assert [each.low for each in bins] == pytest.approx(np.arange(10) / 10)
    assert sum(each.count for each in bins) == 20_000 and sum(each.mass for each in bins) == pytest.approx(1)
    assert calibration_error(bins) < 0.02


def test_the_error_is_the_distance_of_what_is_said_from_what_is():
    bins = reliability(np.array([0.9, 0.9, 1.0, 0.1]), np.array([True, False, True, False]), np.ones(4))
    assert [(each.count, each.human) for each in bins] == [(1, 0.0), (3, pytest.approx(2 / 3))]
    assert calibration_error(bins) == pytest.approx((0.1 + (2.8 - 2)) / 4)


def test_rare_humans_count_by_their_mass():
    d_M, human_M = np.full(10, 0.5), np.arange(10) == 0
    (balanced,) = reliability(d_M, human_M, np.where(human_M, 0.5, 0.5 / 9))
    assert balanced.human == pytest.approx(0.5)


def test_nothing_to_look_at_is_unknown():
    assert math.isnan(calibration_error(()))
