"""How well masks follow a video: J and F of DAVIS (Perazzi et al., 2016), and how much their errors flicker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ivm_data.experts.common.tracks import iou

BOUND = 0.008
"""Of an image's diagonal: how far an outline may lie from the true one, as DAVIS has it."""


@dataclass(frozen=True)
class VideoScores:
    """Means over the frames of a video, in [0, 1].

    Attributes:
        j: IoU of mask and truth; 1 where both are empty.
        f: F-measure of the outlines.
        flicker: share of pixels that are right in one frame and wrong in the next one or the other way round, of those
            that a mask or the truth of both frames has; 0 for a video of one frame. An error that stays is no flicker.
    """

    j: float
    f: float
    flicker: float

    @property
    def jf(self) -> float:
        """Mean of J and F."""
        return (self.j + self.f) / 2


def score_video(masks: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> VideoScores:
    """Compare the masks of a video with the true ones.

    Args:
        masks, truths: HW bool, one a frame, of one size.

    Raises:
        ValueError: no frame, or other numbers of masks and truths.
    """
    if not masks or len(masks) != len(truths):
        raise ValueError(f"need a true mask for each of at least one frame, got {len(truths)} for {len(masks)}")
    pairs = list(zip(masks, truths, strict=True))
    changes = [_changed(*before, *now) for before, now in pairwise(pairs)]
    return VideoScores(
        j=float(np.mean([iou(mask_HW, truth_HW) for mask_HW, truth_HW in pairs])),
        f=float(np.mean([outline_f(mask_HW, truth_HW) for mask_HW, truth_HW in pairs])),
        flicker=float(np.mean(changes)) if changes else 0.0,
    )


def outline_f(mask_HW: np.ndarray, truth_HW: np.ndarray) -> float:
    """F-measure of a mask's outline: how much of it lies near the true one, and of the true one near it.

    Two empty masks have 1, an empty one and another 0, as in DAVIS.
    """
    edge_HW, true_edge_HW = outline(mask_HW), outline(truth_HW)
    radius = math.ceil(BOUND * math.hypot(*mask_HW.shape))
    rows_DD, columns_DD = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc_DD = (rows_DD**2 + columns_DD**2 <= radius**2).astype(np.uint8)
    near_HW, true_near_HW = (cv2.dilate(one.astype(np.uint8), disc_DD) > 0 for one in (edge_HW, true_edge_HW))
    if not edge_HW.any() or not true_edge_HW.any():
        return float(edge_HW.any() == true_edge_HW.any())
    precision = _share(edge_HW & true_near_HW, edge_HW)
    recall = _share(true_edge_HW & near_HW, true_edge_HW)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask_HW: np.ndarray) -> np.ndarray:
    """Pixels whose right, lower, or lower right neighbour is on the other side, HW bool; DAVIS' `seg2bmap`."""
    padded_HW = np.pad(mask_HW.astype(bool), ((0, 1), (0, 1)), mode="edge")
    here_HW = padded_HW[:-1, :-1]
    edge_HW: np.ndarray = (
        (here_HW ^ padded_HW[:-1, 1:]) | (here_HW ^ padded_HW[1:, :-1]) | (here_HW ^ padded_HW[1:, 1:])
    )
    return edge_HW


def _changed(mask_HW: np.ndarray, truth_HW: np.ndarray, next_HW: np.ndarray, next_truth_HW: np.ndarray) -> float:
    turned_HW = (mask_HW ^ truth_HW) ^ (next_HW ^ next_truth_HW)
    return _share(turned_HW, mask_HW | truth_HW | next_HW | next_truth_HW)


def _share(some_HW: np.ndarray, all_HW: np.ndarray) -> float:
    whole = np.count_nonzero(all_HW)
    return np.count_nonzero(some_HW) / whole if whole else 0.0
