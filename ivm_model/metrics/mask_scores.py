"""How well masks overlap: IoU, gIoU, cIoU, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_model.metrics.bootstrap import interval
from storage.pixels.overlap import is_right


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels that two masks share and pixels that either has."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both masks are empty."""
        return self.intersection / self.union if self.union else 1.0


@dataclass(frozen=True)
class MaskScores:
    """Scores of a set of masks, each in [0, 1].

    Attributes:
        count: number of samples.
        giou: mean IoU of the samples; an empty union counts 1 (LISA, arXiv 2308.00692).
        giou_low, giou_high: 95 % percentile bootstrap interval of gIoU over samples.
        ciou: sum of intersections over sum of unions; 1 where all unions are empty.
        found: share of samples whose IoU is at least `RIGHT_IOU`.
    """

    count: int
    giou: float
    giou_low: float
    giou_high: float
    ciou: float
    found: float


def overlap(mask_HW: np.ndarray, truth_HW: np.ndarray, ignore_HW: np.ndarray | None = None) -> Overlap:
    """Count shared and joint pixels of two bool masks, without the pixels to ignore.

    Raises:
        ValueError: the masks differ in size.
    """
    if mask_HW.shape != truth_HW.shape:
        raise ValueError(f"masks must be of one size, got {mask_HW.shape} and {truth_HW.shape}")
    mask_HW, truth_HW = mask_HW.astype(bool), truth_HW.astype(bool)
    if ignore_HW is not None:
        mask_HW, truth_HW = mask_HW & ~ignore_HW, truth_HW & ~ignore_HW
    return Overlap(int((mask_HW & truth_HW).sum()), int((mask_HW | truth_HW).sum()))


def score_masks(overlaps: Sequence[Overlap], seed: int = 0) -> MaskScores:
    """gIoU, cIoU and their like of a non-empty set.

    Raises:
        ValueError: nothing to score.
    """
    if not overlaps:
        raise ValueError("cannot score an empty set of masks; give at least one prediction with its truth")
    iou_N = np.array([each.iou for each in overlaps])
    union = sum(each.union for each in overlaps)
    low, high = mean_interval(iou_N, seed)
    return MaskScores(
        count=len(overlaps),
        giou=float(iou_N.mean()),
        giou_low=low,
        giou_high=high,
        ciou=sum(each.intersection for each in overlaps) / union if union else 1.0,
        found=float(is_right(iou_N).mean()),
    )


def score_by_group(overlaps: Sequence[Overlap], groups: Iterable[str], seed: int = 0) -> Mapping[str, MaskScores]:
    """Scores of each group, sorted by name."""
    members: dict[str, list[Overlap]] = {}
    for each, group in zip(overlaps, groups, strict=True):
        members.setdefault(group, []).append(each)
    return {group: score_masks(members[group], seed) for group in sorted(members)}


def mean_interval(value_N: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean."""
    return interval(lambda rows: value_N[rows].mean(), len(value_N), seed=seed)


def auc(good_N: np.ndarray, bad_M: np.ndarray) -> float:
    """Chance that a good one scores higher than a bad one, ties count half; NaN where one side is empty."""
    if not len(good_N) or not len(bad_M):
        return float("nan")
    bad_M = np.sort(bad_M)
    rank_N = np.searchsorted(bad_M, good_N, "left") + np.searchsorted(bad_M, good_N, "right")
    return float(rank_N.mean() / 2 / len(bad_M))


def paired_win_rate(good_N: np.ndarray, bad_N: np.ndarray) -> float:
    """Share of pairs in which the good one scores higher, ties count half; NaN without pairs."""
    if not len(good_N):
        return float("nan")
    return float((np.sign(good_N - bad_N) / 2 + 0.5).mean())
