"""Is the discriminator a judge of masks, or does it only recognise where an image came from?

The paper's public discriminator computes an embedding of the mask and never uses it. These numbers would show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ivm_model.discriminator.reliability_bins import ReliabilityBin, calibration_error, reliability
from ivm_model.discriminator.stage_one import DiscriminatorScores, balanced_groups
from ivm_model.metrics.mask_scores import auc, paired_win_rate
from storage.pixels import rle
from storage.pixels.overlap import RIGHT_IOU


@dataclass(frozen=True)
class Audit:
    """Scores of the discriminator, each from folds that did not train on the image; NaN where it cannot be measured.

    Attributes:
        shuffled_win: how often D prefers a human row's own mask to another row's mask; 0.5 for a blind one.
        shuffled_change: mean |change of D| when the mask is swapped; 0 for a blind one.
        good_bad_auc: AUC of human masks against the engine's wrong labels (IoU < 0.5) of the same images.
        good_bad_win: the same, image by image.
        right_wrong_auc: AUC of right against wrong machine labels, where held-out truth tells them apart.
        leakage_auc: AUC of human masks against true masks of machine images: equal masks, so 0.5 is clean.
        human_d, right_d, wrong_d: mean D of human masks, of right and of wrong machine labels.
        calibration_error: mean |D - share of humans| over bins of D, on views mixed as the training batches were; a D
            trained by a PU loss estimates something else than being human, and shows it here.
    """

    shuffled_win: float
    shuffled_change: float
    good_bad_auc: float
    good_bad_win: float
    right_wrong_auc: float
    leakage_auc: float
    human_d: float
    right_d: float
    wrong_d: float
    calibration_error: float


def audit(scores: DiscriminatorScores, truth_iou_N: np.ndarray) -> Audit:
    """Judge the judge.

    Args:
        truth_iou_N: IoU of each machine row's label with its truth, in the order of the "machine" views; NaN unknown.
    """
    views = scores.views
    human = {views.views[i].row: i for i in views.where("human")}
    shuffled = [(human[views.views[i].row], i) for i in views.where("shuffled")]
    bad = [(human[views.views[i].row], i) for i in views.where("engine") if _is_bad(views, human, i)]
    own_S, swapped_S = _pairs(scores, shuffled)
    good_B, bad_B = _pairs(scores, bad)
    machine_N = scores.of("machine")
    right_R, wrong_W = machine_N[truth_iou_N >= RIGHT_IOU], machine_N[truth_iou_N < RIGHT_IOU]
    return Audit(
        shuffled_win=paired_win_rate(own_S, swapped_S),
        shuffled_change=float(np.abs(own_S - swapped_S).mean()) if len(own_S) else float("nan"),
        good_bad_auc=auc(good_B, bad_B),
        good_bad_win=paired_win_rate(good_B, bad_B),
        right_wrong_auc=auc(right_R, wrong_W),
        leakage_auc=auc(scores.of("human"), scores.of("truth")),
        human_d=_mean(scores.of("human")),
        right_d=_mean(right_R),
        wrong_d=_mean(wrong_W),
        calibration_error=calibration_error(reliability_bins(scores)),
    )


def reliability_bins(scores: DiscriminatorScores) -> tuple[ReliabilityBin, ...]:
    """D against being human, with the mass that each part and group has in a training batch."""
    mass_M, human_M = np.zeros(len(scores.d_M)), np.zeros(len(scores.d_M), bool)
    for group in balanced_groups(scores.views, np.ones(len(scores.d_M), bool)):
        for part, pool in group.pools.items():
            mass_M[pool] = group.share * group.part_share(part) / len(pool)
            human_M[pool] = part == "human"
    used_M = mass_M > 0
    return reliability(scores.d_M[used_M], human_M[used_M], mass_M[used_M])


def _is_bad(views: Any, human: dict[int, int], i: int) -> bool:
    return rle.iou(views.views[i].mask, views.views[human[views.views[i].row]].mask) < RIGHT_IOU


def _pairs(scores: DiscriminatorScores, indices: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.array(indices, np.int64).reshape(-1, 2).T
    return scores.d_M[first], scores.d_M[second]


def _mean(value_N: np.ndarray) -> float:
    return float(value_N.mean()) if len(value_N) else float("nan")
