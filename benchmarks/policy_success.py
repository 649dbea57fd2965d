"""What counts as success, and how far masks get without any policy."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.policy_scenes import Situation

TOLERANCE = 3
"""Pixels that a point may lie beside its target, of an image of 128."""


def succeeded(points_NK2: np.ndarray, situations: Sequence[Situation]) -> np.ndarray:
    """Whether all points of a situation lie on their targets, each on its own; bool (N,)."""
    return np.array(
        [
            all(on_target(point, mask_HW) for point, mask_HW in zip(points_K2, situation.targets_KHW, strict=True))
            for points_K2, situation in zip(points_NK2, situations, strict=True)
        ]
    )


def on_target(point: np.ndarray, mask_HW: np.ndarray) -> bool:
    """Whether a point (x, y), in [0, 1] of the image's sides, lies on a pixel of the mask or near it.

    Near is a distance of at most `TOLERANCE` pixels between the middles of pixels.
    """
    height, width = mask_HW.shape
    x, y = min(int(point[0] * width), width - 1), min(int(point[1] * height), height - 1)
    distance_HW = cv2.distanceTransform((~mask_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return bool(distance_HW[y, x] <= TOLERANCE)


def alone(heatmaps: Sequence[np.ndarray], situations: Sequence[Situation]) -> np.ndarray:
    """Success of the masks without a policy, float (N,).

    The points are the centres of the largest pieces of a mask (heatmap of at least 0.5), as many as are asked for, in
    an order left to chance: the mean over both orders where there are two. A mask of fewer pieces gives its last centre
    again, an empty one the middle of the image.
    """
    points_NK2 = np.stack(
        [
            largest_pieces(heatmap_HW >= 0.5, len(one.targets_KHW))
            for heatmap_HW, one in zip(heatmaps, situations, strict=True)
        ]
    )
    orders = [succeeded(points_NK2[:, order], situations) for order in (slice(None), slice(None, None, -1))]
    mean_N: np.ndarray = np.mean(orders, axis=0)
    return mean_N


def largest_pieces(mask_HW: np.ndarray, count: int) -> np.ndarray:
    """Centres (x, y) of the largest connected pieces, the largest first, float64 (count, 2) in [0, 1]."""
    height, width = mask_HW.shape
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    largest_first = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    found = [(centres[k] + 0.5) / (width, height) for k in largest_first[:count]] or [np.array([0.5, 0.5])]
    return np.stack([found[min(k, len(found) - 1)] for k in range(count)])
