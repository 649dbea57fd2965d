"""Is the discriminator's probability a probability?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Views whose D lies in [low, high).

    Attributes:
        count: number of views.
        mass: their share, after reweighting; all bins sum to 1.
        mean_d: their mean D.
        human: the share of human ones among them, after reweighting.
    """

    low: float
    high: float
    count: int
    mass: float
    mean_d: float
    human: float


def reliability(d_M: np.ndarray, human_M: np.ndarray, mass_M: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """A reliability diagram of BINS equal bins; empty bins are left out (arXiv 1706.04599, section 2).

    Args:
        d_M: predicted probability of being human, in [0, 1].
        human_M: bool, whether it is.
        mass_M: how much each counts, >= 0.
    """
    bin_M = np.minimum((d_M * BINS).astype(int), BINS - 1)
    bins = []
    for k in np.unique(bin_M):
        inside = bin_M == k
        weight_K = mass_M[inside] / mass_M[inside].sum()
        bins.append(
            ReliabilityBin(
                low=k / BINS,
                high=(k + 1) / BINS,
                count=int(inside.sum()),
                mass=float(mass_M[inside].sum() / mass_M.sum()),
                mean_d=float(weight_K @ d_M[inside]),
                human=float(weight_K @ human_M[inside]),
            )
        )
    return tuple(bins)


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error, the mean |mean D - share of humans| (arXiv 1706.04599, eq. 3); NaN without bins."""
    return sum(each.mass * abs(each.mean_d - each.human) for each in bins) if bins else float("nan")
