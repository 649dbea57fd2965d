from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import beta

from ivm_data.quality.promise import Judged, Wish, most_bad, most_wrong, promise, thresholds


def population(rng, labels):
    """Qualities that are what they say, and who is right."""
    quality_N = np.sort(np.clip(rng.beta(2.0, 0.4, labels), 0.01, 0.99))
    return quality_N, rng.random(labels) < quality_N


def drawn(quality_N, right_N, chosen, above=0.0):
    return Judged(quality_N[chosen], ~right_N[chosen], np.full(len(chosen), above))


def test_the_bound_of_a_large_population_is_clopper_and_pearsons():
    for judged, wrong in ((100, 0), (200, 4), (400, 30)):
        expected = beta.ppf(0.05, judged - wrong, wrong + 1)
        assert 1 - most_bad(10_000_000, judged, wrong, 0.95) / 1e7 == pytest.approx(expected, abs=1e-5)


def test_the_bound_knows_that_a_label_is_drawn_once():
    assert most_bad(100, 100, 7, 0.95) == 7
    assert most_bad(300, 200, 4, 0.95) / 300 < most_bad(100_000, 200, 4, 0.95) / 100_000
    assert most_bad(300, 0, 0, 0.95) == 300


def test_fifty_nine_right_ones_are_the_fewest_that_promise_nineteen_of_twenty():
    many, broken = np.full(2, 1_000_000), np.full(2, 50_001)
    assert most_wrong(many, broken, np.array([58, 59]), 0.05).tolist() == [-1, 0]


def test_labels_that_were_seen_otherwise_count_as_what_they_are():
    """A queue that brings the doubtful ones first takes the wrong ones out of the draw: they are wrong all the same."""
    quality_N = np.random.default_rng(3).permutation(np.linspace(0.9, 1, 1000))
    drawn = quality_N[:300], np.zeros(300, bool), np.zeros(300)
    for wrong, holds in ((0, True), (100, False)):
        judged = Judged(*drawn, quality_N[900:], np.arange(100) < wrong)
        assert (promise(quality_N, judged, Wish(0.95)).coverage > 0.9) == holds


def test_what_is_known_of_all_needs_no_draw():
    quality_N = np.linspace(0.5, 1, 200)
    nobody = Judged(np.zeros(0), np.zeros(0, bool), np.zeros(0), quality_N, quality_N < 0.7)
    found = promise(quality_N, nobody, Wish(0.9))
    assert found.accept is not None and found.bound >= 0.9
    assert (quality_N[quality_N >= found.accept] >= 0.7).mean() == pytest.approx(found.bound)


@pytest.mark.parametrize("above", [0.0, 0.8])
@pytest.mark.parametrize(("precision", "reviews"), [(0.9, 150), (0.95, 200)])
def test_promises_are_broken_less_often_than_was_said(precision, reviews, above):
    rng = np.random.default_rng(5)
    quality_N, right_N = population(rng, 3000)
    right_N &= rng.random(3000) < 0.99  # and the quality says too much
    pool, broken, reached = np.flatnonzero(quality_N >= above), 0, []
    for _ in range(120):
        chosen = rng.choice(pool, reviews, replace=False)
        found = promise(quality_N, drawn(quality_N, right_N, chosen, above), Wish(precision))
        if found.accept is not None:
            accepted_N = quality_N >= found.accept
            broken += right_N[accepted_N].mean() < precision
            assert found.accepted == accepted_N.sum() and found.bound >= precision - 1e-9
        reached.append(found.coverage)
    assert broken <= 12  # 6 are expected at most; 13 or more have a chance of 0.6 %
    assert np.mean(reached) > 0.05


def test_verdicts_from_above_a_quality_count_at_no_lower_threshold():
    rng = np.random.default_rng(0)
    quality_N, right_N = population(rng, 2000)
    pool = np.flatnonzero(quality_N >= 0.9)
    judged = drawn(quality_N, right_N, rng.choice(pool, 300, replace=False), 0.9)
    assert judged.counts(np.array([0.95, 0.9, 0.8, 0.0]))[0][2:].tolist() == [0, 0]
    assert promise(quality_N, judged, Wish(0.8)).accept >= 0.9


def test_what_is_missing_is_about_what_then_suffices():
    rng = np.random.default_rng(1)
    quality_N, right_N = population(rng, 5000)
    first = drawn(quality_N, right_N, before := rng.choice(5000, 20, replace=False))
    few = promise(quality_N, first, Wish(0.95))
    assert few.accept is None and 30 < few.more < 1000
    pool = np.setdiff1d(np.flatnonzero(quality_N >= few.above), before)
    held = []
    for _ in range(40):
        more = drawn(quality_N, right_N, rng.choice(pool, few.more, replace=False), few.above)
        both = [np.concatenate(each) for each in zip(astuple(first)[:3], astuple(more)[:3], strict=True)]
        held.append(promise(quality_N, Judged(*both), Wish(0.95)))
    assert np.mean([one.accept is not None for one in held]) > 0.6


def test_no_number_of_reviews_makes_bad_labels_good():
    quality_N = np.full(500, 0.5)
    judged = Judged(quality_N[:100], np.arange(100) % 2 == 0, np.zeros(100))
    found = promise(quality_N, judged, Wish(0.95))
    assert (found.accept, found.more, found.coverage) == (None, None, 0.0)


def test_thresholds_fall_have_four_digits_and_know_no_verdict():
    tried = thresholds(np.random.default_rng(2).random(1000))
    assert (np.diff(tried) < 0).all() and np.allclose(tried * 1e4, np.round(tried * 1e4))
    assert thresholds(np.zeros(0)).size == 0
    assert promise(np.zeros(0), Judged(np.zeros(0), np.zeros(0, bool), np.zeros(0)), Wish(0.9)).accept is None
