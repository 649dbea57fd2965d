import numpy as np
import pytest

from ivm_data.quality.measures import vote_counts
from ivm_data.quality.staple import Votes, staple
from storage.pixels import rle

SENSITIVITY, SPECIFICITY = np.array([0.95, 0.8, 0.6, 0.9]), np.array([0.99, 0.95, 0.9, 0.7])


def grouped(vote_PE, prior):
    """Votes of single pixels -> groups with the same votes."""
    groups, pixels = np.unique(vote_PE, axis=0, return_counts=True)
    return Votes(groups.astype(float), pixels.astype(float), np.full(len(groups), prior))


@pytest.fixture(scope="module")
def synthetic():
    """A truth that covers 30 % and four experts of known rates."""
    rng = np.random.default_rng(0)
    truth_P = rng.random(200_000) < 0.3
    rate_PE = np.where(truth_P[:, None], SENSITIVITY, 1 - SPECIFICITY)
    return truth_P, rng.random(rate_PE.shape) < rate_PE


def test_experts_of_known_rates_get_these_rates(synthetic):
    _, vote_PE = synthetic
    end = staple(grouped(vote_PE, 0.3))
    assert np.abs(end.sensitivity_E - SENSITIVITY).max() < 0.01
    assert np.abs(end.specificity_E - SPECIFICITY).max() < 0.01
    assert end.iterations < 500


def test_the_hidden_truth_is_better_than_a_majority(synthetic):
    truth_P, vote_PE = synthetic
    groups, index_P = np.unique(vote_PE, axis=0, return_inverse=True)
    end = staple(grouped(vote_PE, 0.3))
    estimated_P = end.truth_G[index_P.ravel()] > 0.5
    assert len(groups) == len(end.truth_G)
    assert (estimated_P == truth_P).mean() > ((vote_PE.mean(axis=1) > 0.5) == truth_P).mean() + 0.01


def test_an_expert_without_a_mask_says_nothing(synthetic):
    _, vote_PE = synthetic
    seen = vote_PE.astype(float)
    seen[: len(seen) // 2, 2] = np.nan
    keys, pixels = np.unique(np.nan_to_num(seen, nan=-1), axis=0, return_counts=True)
    votes = Votes(np.where(keys < 0, np.nan, keys), pixels.astype(float), np.full(len(keys), 0.3))
    end = staple(votes)
    assert np.abs(end.sensitivity_E - SENSITIVITY).max() < 0.015
    assert np.abs(end.specificity_E - SPECIFICITY).max() < 0.015


def test_no_expert_gets_a_veto():
    votes = Votes(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([10.0, 90.0]), np.array([0.1, 0.1]))
    end = staple(votes)
    assert ((end.sensitivity_E < 1) & (end.specificity_E < 1)).all() and np.isfinite(end.truth_G).all()


def test_pixels_are_counted_by_the_masks_that_cover_them():
    first, second = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    first[:2], second[1:3] = True, True
    assert vote_counts([rle.encode(first), rle.encode(second)]) == {0: 6, 1: 6, 2: 6, 3: 6}
    assert vote_counts([]) == {}
