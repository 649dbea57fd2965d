"""A mask from a person's clicks: each click adds or takes away what the segmenter sees there.

Clicks are not put into one prompt, as SAM allows: the embedded segmenter was trained on single prompts, and any
segmenter answers those. On 291 things of the world its mask from one point has a mean IoU of 0.74; with a second,
negative point in the same prompt of 0.24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ivm_data.experts.common.protocols import Segmenter
from storage.records import Box


@dataclass(frozen=True, slots=True)
class Click:
    """A point that adds or takes away the segment under it, or a box that adds the segment in it; pixels of the image.

    Attributes:
        x1, y1: the other corner of a box.
    """

    kind: Literal["add", "remove", "box"]
    x: float
    y: float
    x1: float = 0.0
    y1: float = 0.0


def apply_clicks(
    segmenter: Segmenter, image_HWC: np.ndarray, start_HW: np.ndarray, clicks: Sequence[Click]
) -> np.ndarray:
    """`start_HW` changed by the clicks in their order; HW bool."""
    boxes = [Box(min(c.x, c.x1), min(c.y, c.y1), max(c.x, c.x1), max(c.y, c.y1)) for c in clicks if c.kind == "box"]
    points_N2 = np.array([(c.x, c.y) for c in clicks if c.kind != "box"], np.float32).reshape(-1, 2)
    in_boxes = iter(segmenter.segment([image_HWC], [boxes])[0].mask_NHW)
    at_points = iter(segmenter.segment_points([image_HWC], [points_N2])[0].mask_NHW)
    mask_HW = start_HW.copy()
    for click in clicks:
        found_HW = next(in_boxes if click.kind == "box" else at_points)
        mask_HW = mask_HW & ~found_HW if click.kind == "remove" else mask_HW | found_HW
    return mask_HW
