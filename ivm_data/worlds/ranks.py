"""Rank, size, between and distance of things, with margins at which nobody would argue.

Every function answers "clearly so"; what is neither clearly so nor clearly not is never asked about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ivm_data.worlds.relations import MARGIN
from ivm_data.worlds.scene import Thing
from storage.records import Box

TIMES_LARGER = 1.5
"""Least ratio of areas, of the pixels and of the boxes alike."""
WHOLE = 0.75
"""Least visible share of things whose sizes are compared: nobody knows how large a hidden one is."""
WIDE, NARROW = 140.0, 90.0
"""Degrees under which two anchors are seen: at least from what lies between them, at most from what does not."""
APART = 32.0
"""Least distance of two anchors, in pixels of a 128 px image."""
TIMES_FARTHER = 1.4
_SIDES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}


def ahead(one: Box, other: Box, side: str) -> bool:
    """Whether a box comes clearly before another, counted from a side: by its centre and by both its edges."""
    axis, sign = _SIDES[side]
    edges = ((one.x0, one.x1), (one.y0, one.y1))[axis], ((other.x0, other.x1), (other.y0, other.y1))[axis]
    (low, high), (other_low, other_high) = edges
    centre = (other_low + other_high - low - high) / 2 * sign
    return centre >= MARGIN and (other_low - low) * sign >= MARGIN / 2 and (other_high - high) * sign >= MARGIN / 2


def in_place(boxes: Iterable[tuple[int, Box]], side: str, rank: int) -> int | None:
    """Index of the box in the `rank`-th place from a side; None where it does not stand there clearly."""
    many = list(boxes)
    for index, box in many:
        before = [other for i, other in many if i != index and ahead(other, box, side)]
        after = [other for i, other in many if i != index and ahead(box, other, side)]
        if len(before) == rank - 1 and len(before) + len(after) == len(many) - 1:
            return index
    return None


def outsized(things: Iterable[tuple[int, Thing]], order: str) -> int | None:
    """Index of the clearly largest or smallest of several things; None where there is none, or where one is hidden."""
    many = list(things)
    if len(many) < 2 or any(thing.visible < WHOLE for _, thing in many):
        return None
    sizes = [(i, np.array([np.count_nonzero(thing.mask_HW), thing.box.area])) for i, thing in many]
    for index, size in sizes:
        others = [other for i, other in sizes if i != index]
        if all(_larger(size, o) if order == "largest" else _larger(o, size) for o in others):
            return index
    return None


def between(box: Box, first: Box, second: Box) -> bool:
    """Whether a box lies clearly between two others."""
    return _seen_under(box, first, second) >= WIDE


def not_between(box: Box, first: Box, second: Box) -> bool:
    """Whether a box clearly does not lie between two others."""
    return _seen_under(box, first, second) <= NARROW


def apart(first: Box, second: Box) -> bool:
    """Whether there is room between two boxes."""
    return math.dist(first.center, second.center) >= APART


def nearer(box: Box, other: Box, anchor: Box) -> bool:
    """Whether a box is clearly nearer to an anchor than another: from centre to centre, and across the gap."""
    near, far = math.dist(box.center, anchor.center), math.dist(other.center, anchor.center)
    return (
        far >= TIMES_FARTHER * near and far >= near + MARGIN and _gap(other, anchor) >= _gap(box, anchor) + MARGIN / 2
    )


def extreme(boxes: Iterable[tuple[int, Box]], relation: str, anchor: Box) -> int | None:
    """Index of the box that is clearly "nearest to" or "farthest from" an anchor; None where none is."""
    many = list(boxes)
    for index, box in many:
        others = [other for i, other in many if i != index]
        if all(nearer(box, o, anchor) if relation == "nearest to" else nearer(o, box, anchor) for o in others):
            return index
    return None


def _larger(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= TIMES_LARGER * other).all())


def _seen_under(box: Box, first: Box, second: Box) -> float:
    """Angle at a box's centre between the centres of two others, in degrees; 0 where they coincide."""
    (x, y), (u, v), (p, q) = box.center, first.center, second.center
    one, two = math.hypot(u - x, v - y), math.hypot(p - x, q - y)
    if not one or not two:
        return 0.0
    cosine = ((u - x) * (p - x) + (v - y) * (q - y)) / (one * two)
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _gap(one: Box, other: Box) -> float:
    """Distance between the nearest points of two boxes, 0 where they touch."""
    dx = max(one.x0 - other.x1, other.x0 - one.x1, 0.0)
    dy = max(one.y0 - other.y1, other.y0 - one.y1, 0.0)
    return math.hypot(dx, dy)
