"""Shapes that annotation tools draw -> polygons in pixels, and masks -> targets.

Angles are in degrees, clockwise on the screen, as the tools show them: x grows to the right and y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ivm_data.sources.foreign.common.foreign_reader import Target, number
from storage.pixels import rle

Points = list[tuple[float, float]]

DEVIATION = 0.01
"""Pixels by which the polygon of an ellipse may leave it."""
MOST_POINTS = 20_000


def points_of(value: Any) -> Points:
    """Points from a JSON list of [x, y].

    Raises:
        ValueError: another value.
    """
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise ValueError(f"points must be a list of [x, y], got {value!r:.60}")
    return [(number(x), number(y)) for x, y in value]


def flat(points: Iterable[tuple[float, float]]) -> list[float]:
    """[x0, y0, x1, y1, ...], as COCO writes a polygon."""
    return [edge for point in points for edge in point]


def turned(points: Iterable[tuple[float, float]], angle: float, center: tuple[float, float]) -> Points:
    """The points turned about a center."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x0, y0 = center
    return [(x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine) for x, y in points]


def rectangle(x: float, y: float, width: float, height: float) -> Points:
    """The corners of an upright rectangle, from its top left one."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> Points:
    """An ellipse about (x, y).

    Raises:
        ValueError: a radius that is not above 0.
    """
    if not (0 < radius_x < math.inf and 0 < radius_y < math.inf):
        raise ValueError(f"an ellipse needs radii above 0, got {radius_x:g} and {radius_y:g}")
    longest = max(radius_x, radius_y)
    half_step = math.acos(max(0.0, 1 - DEVIATION / longest))
    count = min(MOST_POINTS, max(8, math.ceil(math.pi / half_step)))
    steps = (2 * math.pi * step / count for step in range(count))
    return turned(((x + radius_x * math.cos(t), y + radius_y * math.sin(t)) for t in steps), angle, (x, y))


def is_upright(points: Points) -> bool:
    """Whether four corners are those of a rectangle with sides along the axes."""
    return len(points) == 4 and len({x for x, _ in points}) == 2 == len({y for _, y in points})


def mask_target(mask_HW: np.ndarray) -> Target:
    """A target of a mask's own pixels, as run lengths."""
    mask = rle.encode(mask_HW)
    return {"mask_rle": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")}}
