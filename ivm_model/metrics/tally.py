"""What can be summed over samples, and every score of a table as a function of these sums.

So an interval costs one matrix product: a bootstrap resample is a vector of counts. Images are drawn, not samples, as
the instructions about one image share its difficulty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivm_model.metrics.bootstrap import count_draws, percentile
from ivm_model.metrics.mask_scores import overlap
from storage.pixels.overlap import box_iou, is_right
from storage.records import Box

IOU_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""COCO's ten, over which SA-Co averages cgF1."""
SCORES = ("giou", "ciou", "acc", "box_acc", "cgf1", "pmf1", "mcc", "none_acc")
"""What `scores` gives, in its order."""
_COLUMNS = ("n", "iou", "intersection", "union", "hit", "box_hit", "tp", "fp", "fn", "tn")
_AT = {name: index for index, name in enumerate(_COLUMNS)}


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % percentile bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def tally(mask_HW: np.ndarray, truth_HW: np.ndarray, ignore_HW: np.ndarray | None = None) -> np.ndarray:
    """One answer against its truth, as a row of numbers that can be summed over samples.

    Args:
        mask_HW, truth_HW: bool; an empty truth says that the target is not in the image.
        ignore_HW: bool pixels that count for nobody, as those of value 255 in ReasonSeg (LISA, arXiv 2308.00692).

    Returns:
        (20,) float64: the columns of `_COLUMNS`, then whether the IoU reaches each of `IOU_THRESHOLDS` where there is
        a target.

    Raises:
        ValueError: the masks differ in size.
    """
    if ignore_HW is not None:
        mask_HW, truth_HW = mask_HW & ~ignore_HW, truth_HW & ~ignore_HW
    found = overlap(mask_HW, truth_HW)
    said, there = bool(mask_HW.any()), bool(truth_HW.any())
    same_box = box_iou(_box(mask_HW), _box(truth_HW)) if said and there else float(said == there)
    counts = (1, found.iou, found.intersection, found.union, is_right(found.iou), is_right(same_box))
    presence = (said and there, said and not there, there and not said, not said and not there)
    # An IoU of 3/5 is not 0.6000000000000001, which is what adding up twentieths makes of the threshold.
    return np.array([*counts, *presence, *(there * (found.iou >= IOU_THRESHOLDS - 1e-9))], np.float64)


def scores(total_RK: np.ndarray) -> np.ndarray:
    """Sums of tallies -> (R, len(SCORES)); NaN where a score is not defined.

    giou: mean IoU, an empty union counts 1. ciou: sum of intersections over sum of unions, 1 where all are empty.
    acc, box_acc: share of samples whose masks, or the boxes around these, have an IoU of at least `RIGHT_IOU`.
    pmf1: F1 over the samples with a target, each mask one instance, averaged over `IOU_THRESHOLDS`. mcc: Matthews
    correlation of "found something" with "there is something". cgf1 = pmf1 * mcc (SAM 3, arXiv 2511.16719; its code
    `sam3/eval/cgf1_eval.py`, without the constants that it adds to the denominators). They are not defined without
    both samples with a target and samples without; a system that says the same of all has mcc 0.
    none_acc: share of the samples without a target that are answered so (N-acc of gRefCOCO).
    """
    column = {name: total_RK[:, at] for name, at in _AT.items()}
    n, tp, fp, fn, tn = (column[name] for name in ("n", "tp", "fp", "fn", "tn"))
    hit_RT = total_RK[:, len(_COLUMNS) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        pmf1 = (2 * hit_RT / (2 * tp + fn)[:, None]).mean(1)
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        mcc = np.where(spread > 0, (tp * tn - fp * fn) / spread, 0.0)
        mcc[((tp + fn) == 0) | ((tn + fp) == 0)] = np.nan
        ciou = np.where(column["union"] > 0, column["intersection"] / column["union"], 1.0)
        means = [column[name] / n for name in ("iou", "hit", "box_hit")]
        none_acc = tn / (tn + fp)
    return np.stack([means[0], ciou, means[1], means[2], pmf1 * mcc, pmf1, mcc, none_acc], axis=1)


def intervals(tally_NK: np.ndarray, images: Sequence[str], seed: int = 0) -> dict[str, Interval]:
    """Each of `SCORES` over samples, with its interval over images.

    Args:
        images: which image each sample is about.

    Raises:
        ValueError: nothing to score.
    """
    return _summary(scores(tally_NK.sum(0)[None])[0], _resampled(tally_NK, images, seed))


def differences(
    tally_NK: np.ndarray, other_NK: np.ndarray, images: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """Scores of the first minus those of the other on the same samples, both drawn alike."""
    value = scores(tally_NK.sum(0)[None])[0] - scores(other_NK.sum(0)[None])[0]
    return _summary(value, _resampled(tally_NK, images, seed) - _resampled(other_NK, images, seed))


def _resampled(tally_NK: np.ndarray, images: Sequence[str], seed: int) -> np.ndarray:
    """(RESAMPLES, len(SCORES)) scores of resamples; the same seed draws the same images."""
    if not len(tally_NK):
        raise ValueError("cannot score an empty set of answers; give at least one with its truth")
    names, image_N = np.unique(np.asarray(images), return_inverse=True)
    total_IK = np.zeros((len(names), tally_NK.shape[1]))
    np.add.at(total_IK, image_N, tally_NK)
    return np.concatenate([scores(count_RI @ total_IK) for count_RI in count_draws(len(names), seed=seed)])


def _summary(value_S: np.ndarray, drawn_RS: np.ndarray) -> dict[str, Interval]:
    return {
        name: Interval(value, *((np.nan, np.nan) if np.isnan(value) else percentile(drawn_R)))
        for name, value, drawn_R in zip(SCORES, value_S.tolist(), drawn_RS.T, strict=True)
    }


def _box(mask_HW: np.ndarray) -> Box:
    """The box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
