"""Masks of labeled key frames, carried to the frames between them from both sides, and how well the sides agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ivm_data.experts.common.protocols import Tracker


@dataclass(frozen=True)
class Tracked:
    """The mask of a frame.

    Attributes:
        mask_HW: bool; of a key frame its own.
        consistency: in [0, 1]. Between two key frames the IoU of the masks that come from them; of a key frame the mean
            IoU of its mask with those that its neighbours' become there. Two empty masks agree, 1. NaN where only one
            side is known.
    """

    mask_HW: np.ndarray
    consistency: float


def track(tracker: Tracker, images: Sequence[np.ndarray], keys: Mapping[int, np.ndarray]) -> list[Tracked]:
    """A mask for each of consecutive frames, from those of some of them.

    A frame between two key frames has the mask that comes from the nearer one, of two as near from the earlier one; a
    frame before the first or behind the last has the mask that comes from that one.

    Args:
        images: HWC uint8 RGB frames of one size.
        keys: HW bool mask by the frame's index.

    Raises:
        ValueError: no key frame, or one that is none of the images.
    """
    order = sorted(keys)
    if not order or not 0 <= order[0] <= order[-1] < len(images):
        raise ValueError(f"key frames must be some of frames 0 to {len(images) - 1}, got {order}")
    found: dict[int, Tracked] = {}
    at_keys: dict[int, list[float]] = {key: [] for key in order}
    for first, last in pairwise(order):
        ahead = tracker.carry(images[first : last + 1], keys[first])
        back = tracker.carry(images[first : last + 1][::-1], keys[last])[::-1]
        at_keys[first].append(iou(back[0], keys[first]))
        at_keys[last].append(iou(ahead[-1], keys[last]))
        for step in range(1, last - first):
            nearer = ahead if 2 * step <= last - first else back
            found[first + step] = Tracked(nearer[step], iou(ahead[step], back[step]))
    first, last = order[0], order[-1]
    before = tracker.carry(images[: first + 1][::-1], keys[first])
    found |= {first - step: Tracked(mask_HW, np.nan) for step, mask_HW in enumerate(before) if step}
    behind = tracker.carry(images[last:], keys[last])
    found |= {last + step: Tracked(mask_HW, np.nan) for step, mask_HW in enumerate(behind) if step}
    for key, agreed in at_keys.items():
        found[key] = Tracked(keys[key].astype(bool), float(np.mean(agreed)) if agreed else np.nan)
    return [found[index] for index in range(len(images))]


def iou(one_HW: np.ndarray, other_HW: np.ndarray) -> float:
    """Overlap of two masks in [0, 1]; 1 for two empty ones."""
    union = np.count_nonzero(one_HW | other_HW)
    return np.count_nonzero(one_HW & other_HW) / union if union else 1.0
