"""What the results of benchmarks.policy say: success, differences with intervals, and how good the masks were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.policy_scenes import Crowd
from benchmarks.policy_success import alone
from benchmarks.policy_views import Shown
from ivm_model.metrics.bootstrap import interval
from storage.pixels.overlap import is_right


@dataclass(frozen=True)
class Found:
    """What was found of a task.

    Attributes:
        results: of each "arm/demonstrations/seed", whether each test scene of a crowd succeeded, and "seconds".
        seeds: how many are told.
    """

    tested: Mapping[Crowd, Shown]
    results: Mapping[str, Mapping[str, Any]]
    seeds: int

    def right(self, arm: str, count: int, crowd: Crowd) -> np.ndarray:
        """Success as float (seeds, tests); (0, 0) where the arm was not trained."""
        names = [f"{arm}/{count}/{seed}" for seed in range(self.seeds)]
        known = [self.results[name][crowd] for name in names if name in self.results]
        return np.array(known, float) if known else np.zeros((0, 0))

    @property
    def seconds(self) -> list[float]:
        """CPU time of each training that is told, testing included."""
        return [run["seconds"] for name, run in self.results.items() if int(name.rpartition("/")[2]) < self.seeds]

    def alone(self, source: str, crowd: Crowd) -> np.ndarray:
        """Success of a source's masks without a policy, float (tests,)."""
        return alone(self.tested[crowd].heatmaps(source), self.tested[crowd].situations)


@dataclass(frozen=True)
class MaskFacts:
    """Shares of situations: whose mask is right, and which have none."""

    right: float
    empty: float


def mask_facts(source: str, shown: Shown) -> MaskFacts:
    """How good the masks are that an arm shows."""
    masks = [heatmap_HW >= 0.5 for heatmap_HW in shown.heatmaps(source)]
    truths = [one.targets_KHW.any(0) for one in shown.situations]
    ious = [(mask & truth).sum() / (mask | truth).sum() for mask, truth in zip(masks, truths, strict=True)]
    return MaskFacts(float(np.mean(is_right(np.array(ious)))), float(np.mean([not mask.any() for mask in masks])))


def gain(one_ST: np.ndarray, other_ST: np.ndarray) -> tuple[float, float, float]:
    """Difference of mean success and its interval; seeds and test scenes are both drawn, and paired."""
    difference_ST = one_ST - other_ST
    low, high = interval(lambda seeds, tests: float(difference_ST[np.ix_(seeds, tests)].mean()), *difference_ST.shape)
    return float(difference_ST.mean()), low, high
