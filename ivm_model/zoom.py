"""Coarse to fine: a picture larger than the model sees, in parts as large as it sees, then the best of these anew.

The same pixels shown in several parts get several heats, of which the mean is surer than any: what is there stays where
it is wherever a part begins, and most of what is not there goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.pixels.windows import Window, square, tiles
from storage.records import Box

OVERLAP = 0.5
"""Of neighbouring parts, as a share of their side: all but the outermost pixels are seen twice along each axis."""
SHRINK = 1.25
"""A picture is zoomed into where the model sees it smaller by more than this factor."""
MOST = 300
"""Parts of a picture at first; where it needs more, they are larger, and the model sees them smaller."""
_FOUND = 0.5
_LEVELS = 255

See = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Pictures, HWC uint8 -> their heatmaps, HW float32 in [0, 1]."""


@dataclass(frozen=True)
class _Look:
    """A part, and its heat in levels, HW uint8: a byte a pixel, so that all parts of a picture can be held."""

    window: Window
    level_HW: np.ndarray

    @property
    def heat_HW(self) -> np.ndarray:
        heat_HW: np.ndarray = self.level_HW.astype(np.float32) / _LEVELS
        return heat_HW


def parts(size: tuple[int, int], side: int) -> list[Window]:
    """What is looked at first of a picture of (height, width) `size`; nothing of one that is seen large enough.

    Args:
        side: of the model's square input, in pixels.
    """
    if max(size) <= SHRINK * side:
        return []
    large = side
    while len(windows := tiles(size, large, OVERLAP)) > MOST:
        large = math.ceil(1.05 * large)
    return windows


def zoomed(
    see: See, image_HWC: np.ndarray, coarse_HW: np.ndarray, side: int, *, looks: int, at_once: int
) -> np.ndarray:
    """The heat of a picture: of the part that is hottest when it is looked at anew, zero elsewhere.

    So what is asked for is looked for in one place. The whole picture's heat stands where it shows something longer
    than half a part that is no less sure, and where the picture is seen large enough.

    Args:
        see: the model.
        coarse_HW: what it makes of the whole picture.
        side: of its square input, in pixels.
        looks: parts that are looked at anew, each around what was found in it.
        at_once: parts that pass through the model together.

    Returns:
        HW float32 in [0, 1].
    """
    windows = parts(image_HWC.shape[:2], side)
    if not windows:
        return coarse_HW
    first = _looks(see, image_HWC, windows, at_once)
    chosen = sorted(first, key=lambda look: -_sureness(look.heat_HW))[:looks]
    again = _looks(see, image_HWC, [_centred(look, image_HWC.shape[:2]) for look in chosen], at_once)
    means = [_mean(look.window, [*first, *again]) for look in again]
    best = max(range(len(again)), key=lambda k: _sureness(means[k]))
    heat_HW = means[best] if means[best].max() >= _FOUND else again[best].heat_HW
    if _longest(coarse_HW) > OVERLAP * side and _sureness(coarse_HW) >= _sureness(heat_HW):
        return coarse_HW
    out_HW = np.zeros(image_HWC.shape[:2], np.float32)
    out_HW[again[best].window.slices] = heat_HW
    return out_HW


def _looks(see: See, image_HWC: np.ndarray, windows: Sequence[Window], at_once: int) -> list[_Look]:
    found = []
    for start in range(0, len(windows), at_once):
        some = windows[start : start + at_once]
        heats = see([window.cut(image_HWC) for window in some])
        found += [_Look(w, np.rint(heat_HW * _LEVELS).astype(np.uint8)) for w, heat_HW in zip(some, heats, strict=True)]
    return found


def _sureness(heat_HW: np.ndarray) -> float:
    """Mean heat of what is found; of nothing half the greatest heat."""
    found_HW = heat_HW >= _FOUND
    return float(heat_HW[found_HW].mean() if found_HW.any() else heat_HW.max() / 2)


def _centred(look: _Look, size: tuple[int, int]) -> Window:
    """A part of the same size around the middle of the heat, most of all of the greatest."""
    weight_HW = look.heat_HW**4 + 1e-9
    rows, columns = weight_HW.sum(axis=1), weight_HW.sum(axis=0)
    y = look.window.y0 + float(rows @ np.arange(rows.size) / rows.sum())
    x = look.window.x0 + float(columns @ np.arange(columns.size) / columns.sum())
    longest = max(look.window.x1 - look.window.x0, look.window.y1 - look.window.y0)
    return square(Box(x, y, x, y), size, longest)


def _mean(window: Window, looks: Sequence[_Look]) -> np.ndarray:
    """Mean heat of every pixel of a part over the looks that show it, HW float32."""
    heat_HW = np.zeros((window.y1 - window.y0, window.x1 - window.x0), np.float32)
    count_HW = np.zeros_like(heat_HW)
    for look in looks:
        if (both := window.shared(look.window)) is None:
            continue
        here, there = both.inside(window), both.inside(look.window)
        heat_HW[here.slices] += look.level_HW[there.slices]
        count_HW[here.slices] += _LEVELS
    return heat_HW / count_HW


def _longest(heat_HW: np.ndarray) -> int:
    """The longer side of the box around what is found, in pixels; 0 where nothing is."""
    found_HW = heat_HW >= _FOUND
    rows, columns = np.flatnonzero(found_HW.any(axis=1)), np.flatnonzero(found_HW.any(axis=0))
    return int(max(np.ptp(rows), np.ptp(columns)) + 1) if rows.size else 0
