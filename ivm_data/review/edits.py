"""A mask that a person repairs: a start, then edits in their order, each by the segmenter or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import cv2
import numpy as np

from storage.pixels import rle

Start = Literal["label", "nothing", "everything"]
"""What is repaired: the label's mask, an empty one, or the whole image."""

Kind = Literal["add", "remove", "box", "brush", "eraser", "polygon", "cut"]

PROMPTS: tuple[Kind, ...] = ("add", "remove", "box")
"""Edits that ask the segmenter."""

_TAKES_AWAY: tuple[Kind, ...] = ("remove", "eraser", "cut")
_SUBPIXEL = 4
"""Bits after the point in which OpenCV takes coordinates."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a mask.

    Attributes:
        kind: "add" or "remove" what the segmenter sees at a point, add what it sees in a "box", paint with the "brush"
            or the "eraser", fill a "polygon" or "cut" it out.
        points: (x, y) in pixels of the image, the middle of the first pixel at (0.5, 0.5): one point, two opposite
            corners of a box, the brush's way, or the polygon's corners.
        radius: of the brush or eraser, in pixels.
        goes_on: a prompt that means the same thing as the prompt before it.
    """

    kind: Kind
    points: tuple[tuple[float, float], ...]
    radius: float = 0.0
    goes_on: bool = False

    @property
    def is_prompt(self) -> bool:
        """Whether the segmenter is asked."""
        return self.kind in PROMPTS


Step = tuple[Edit, ...]
"""One edit, or the prompts that together mean one thing; the first says whether it is added or taken away."""


class Sees(Protocol):
    """What a segmenter sees at prompts of one image."""

    def __call__(self, steps: Sequence[Step]) -> list[np.ndarray]:
        """A mask for each step of prompts, HW bool."""
        ...


def steps_of(edits: Sequence[Edit], *, joined: bool) -> list[Step]:
    """The edits in their order; with `joined`, prompts that mean one thing are one step."""
    steps: list[Step] = []
    for edit in edits:
        if joined and edit.goes_on and edit.is_prompt and steps and steps[-1][-1].is_prompt:
            steps[-1] += (edit,)
        else:
            steps.append((edit,))
    return steps


def edited(start_HW: np.ndarray, steps: Sequence[Step], sees: Sees) -> np.ndarray:
    """`start_HW` changed by the steps in their order; HW bool."""
    asked = [step for step in steps if step[0].is_prompt]
    seen = iter(sees(asked)) if asked else iter(())
    mask_HW = start_HW.copy()
    for first, *_ in steps:
        found_HW = next(seen) if first.is_prompt else drawn(first, (mask_HW.shape[0], mask_HW.shape[1]))
        mask_HW = mask_HW & ~found_HW if first.kind in _TAKES_AWAY else mask_HW | found_HW
    return mask_HW


def drawn(edit: Edit, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels under a brush's way or within a polygon, HW bool."""
    points_N2 = np.array(edit.points, np.float64)
    if edit.kind in ("polygon", "cut"):
        return rle.decode(rle.from_polygon(points_N2, size_hw))
    canvas_HW = np.zeros(size_hw, np.uint8)
    # OpenCV puts (0, 0) into the middle of the first pixel,
    points_N2 = np.round((points_N2 - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
    # and fills pixels that are touched, not those whose middle lies inside.
    radius = round(max(edit.radius - 0.5, 0) * (1 << _SUBPIXEL))
    for x, y in points_N2:
        cv2.circle(canvas_HW, (int(x), int(y)), radius, 1, -1, shift=_SUBPIXEL)
    for first, second in pairwise(points_N2):
        cv2.fillConvexPoly(canvas_HW, _band(first, second, radius), 1, shift=_SUBPIXEL)
    return canvas_HW.astype(bool)


def _band(first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    """Corners of the rectangle that a disc sweeps between two points, int32 (4, 2)."""
    way = (second - first).astype(np.float64)
    across = np.array([-way[1], way[0]]) * (radius / max(float(np.hypot(*way)), 1e-9))
    return np.round([first + across, second + across, second - across, first - across]).astype(np.int32)
