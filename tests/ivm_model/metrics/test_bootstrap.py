import math

import numpy as np
import pytest

from ivm_model.metrics.bootstrap import CONFIDENCE, RESAMPLES, count_draws, draws, interval, percentile

EDGES = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]


def test_rows_that_are_drawn_alone_give_the_interval_of_the_plain_loop_to_the_digit():
    value_N, rng = np.random.default_rng(5).random(37), np.random.default_rng(3)
    means = [value_N[rng.integers(37, size=37)].mean() for _ in range(RESAMPLES)]
    assert interval(lambda rows: value_N[rows].mean(), 37, seed=3) == tuple(np.quantile(means, EDGES))


def test_two_axes_are_drawn_in_turn_as_the_plain_loop_over_seeds_and_rows_does():
    value_SN, rng = np.random.default_rng(5).random((4, 30)), np.random.default_rng(0)
    means = [value_SN[rng.integers(4, size=4)][:, rng.integers(30, size=30)].mean() for _ in range(RESAMPLES)]
    assert interval(lambda s, n: value_SN[s][:, n].mean(), *value_SN.shape) == tuple(np.quantile(means, EDGES))


def test_rows_of_one_unit_stay_together_and_as_many_units_are_drawn_as_there_are():
    unit_N = np.array([1, 0, 1, 2, 1])
    for (rows,) in draws(unit_N, resamples=50):
        drawn = [tuple(rows[start : start + len(group)]) for start, group in _runs(rows, unit_N)]
        assert len(drawn) == 3 and set(drawn) <= {(0, 2, 4), (1,), (3,)}


def _runs(rows, unit_N):
    start = 0
    while start < len(rows):
        group = np.flatnonzero(unit_N == unit_N[rows[start]])
        yield start, group
        start += len(group)


def test_counts_say_how_often_each_unit_is_in_a_resample():
    counts = np.concatenate(list(count_draws(7, resamples=300)))
    assert counts.shape == (300, 7) and (counts.sum(1) == 7).all()
    assert counts.mean() == pytest.approx(1.0) and counts.var() == pytest.approx(1 - 1 / 7, rel=0.1)


def test_resamples_in_which_a_statistic_is_not_defined_are_left_out():
    assert percentile([math.nan, 1.0, 1.0]) == (1.0, 1.0)
    assert all(map(math.isnan, percentile([math.nan, math.nan])))
