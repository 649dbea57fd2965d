"""STAPLE: how reliable each expert is, and what the hidden truth probably is, when only their masks are known.

Warfield, Zou and Wells 2004, "Simultaneous truth and performance level estimation (STAPLE)", IEEE TMI 23(7). The sums
of the paper run over pixels; here pixels with the same votes in the same label are one group, so that the cost does not
depend on their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

START = 0.99
"""Sensitivity and specificity before the first step: every expert is taken to be good, as in the paper."""
LIMIT = 1e-4
"""Estimates keep this distance to 0 and 1, so that no expert ever has a veto."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Groups of pixels with the same votes.

    Attributes:
        vote_GE: 1 where expert E marks the pixels of group G, 0 where it leaves them, NaN where it gave no mask.
        pixels_G: pixels in each group.
        prior_G: P(a pixel is needed) before any vote, the same for all groups of a label; in (0, 1).
    """

    vote_GE: np.ndarray
    pixels_G: np.ndarray
    prior_G: np.ndarray


@dataclass(frozen=True, eq=False)
class Estimate:
    """What expectation maximisation ended with.

    Attributes:
        sensitivity_E: P(the expert marks a pixel | it is needed).
        specificity_E: P(the expert leaves a pixel | it is not needed).
        truth_G: P(the pixels of the group are needed).
        iterations: steps until the estimates stood still.
    """

    sensitivity_E: np.ndarray
    specificity_E: np.ndarray
    truth_G: np.ndarray
    iterations: int


def staple(votes: Votes, tolerance: float = 1e-6, most: int = 500) -> Estimate:
    """Expectation maximisation until no estimate moves by more than `tolerance`, at most `most` steps."""
    given_GE = ~np.isnan(votes.vote_GE)
    vote_GE = np.where(given_GE, votes.vote_GE, 0.0)
    sensitivity_E = specificity_E = np.full(vote_GE.shape[1], START)
    moved, step = 1.0, 0
    while moved >= tolerance and step < most:
        truth_G = _truth(vote_GE, given_GE, votes.prior_G, sensitivity_E, specificity_E)
        before = np.concatenate([sensitivity_E, specificity_E])
        sensitivity_E = _share(truth_G * votes.pixels_G, vote_GE, given_GE)
        specificity_E = _share((1 - truth_G) * votes.pixels_G, 1 - vote_GE, given_GE)
        moved = np.abs(np.concatenate([sensitivity_E, specificity_E]) - before).max(initial=0.0)
        step += 1
    return Estimate(sensitivity_E, specificity_E, truth_G, step)


def _truth(
    vote_GE: np.ndarray, given_GE: np.ndarray, prior_G: np.ndarray, sensitivity_E: np.ndarray, specificity_E: np.ndarray
) -> np.ndarray:
    """P(needed | votes), equation 14 of the paper, as a sum of log odds."""
    for_E = np.log(sensitivity_E / (1 - specificity_E))
    against_E = np.log((1 - sensitivity_E) / specificity_E)
    evidence_G = (np.where(vote_GE > 0, for_E, against_E) * given_GE).sum(axis=1)
    posterior_G: np.ndarray = 1 / (1 + np.exp(-np.clip(np.log(prior_G / (1 - prior_G)) + evidence_G, -700, 700)))
    return posterior_G


def _share(weight_G: np.ndarray, vote_GE: np.ndarray, given_GE: np.ndarray) -> np.ndarray:
    """Weighted share of votes among those given, equations 18 and 19."""
    total_E = weight_G @ given_GE
    share_E: np.ndarray = np.divide(
        weight_G @ (vote_GE * given_GE), total_E, out=np.full(len(total_E), START), where=total_E > 0
    )
    return share_E.clip(LIMIT, 1 - LIMIT)
