"""Parts of a picture: where they lie, and what of a thing they cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from storage.records import Box


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a picture, in pixels, right and bottom exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def cut(self, image_HWC: np.ndarray) -> np.ndarray:
        """A copy of this part of an HWC or HW array."""
        return image_HWC[self.slices].copy()

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array of the picture's."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def placed(self, box: Box) -> Box:
        """A box in pixels of the part, in pixels of the picture."""
        return Box(box.x0 + self.x0, box.y0 + self.y0, box.x1 + self.x0, box.y1 + self.y0)

    def within(self, box: Box) -> Box:
        """A box in pixels of the picture, in pixels of the part."""
        return Box(box.x0 - self.x0, box.y0 - self.y0, box.x1 - self.x0, box.y1 - self.y0)

    def cuts(self, box: Box, size: tuple[int, int], margin: float = 1.0) -> bool:
        """Whether a box of the picture reaches an edge of this part that is no edge of the picture.

        Args:
            size: (height, width) of the picture.
            margin: pixels that a box ends before an edge and reaches it all the same.
        """
        height, width = size
        return (
            (self.x0 > 0 and box.x0 <= self.x0 + margin)
            or (self.y0 > 0 and box.y0 <= self.y0 + margin)
            or (self.x1 < width and box.x1 >= self.x1 - margin)
            or (self.y1 < height and box.y1 >= self.y1 - margin)
        )

    def shared(self, other: Window) -> Window | None:
        """What two parts have in common; None where that has no pixel."""
        both = Window(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))
        return both if both.x0 < both.x1 and both.y0 < both.y1 else None

    def inside(self, other: Window) -> Window:
        """This part in pixels of a part that holds it."""
        return Window(self.x0 - other.x0, self.y0 - other.y0, self.x1 - other.x0, self.y1 - other.y0)

    def clipped(self, box: Box) -> Box | None:
        """The part of a box of the picture that lies in this part; None where there is none."""
        inside = Box(max(box.x0, self.x0), max(box.y0, self.y0), min(box.x1, self.x1), min(box.y1, self.y1))
        return inside if inside.x0 < inside.x1 and inside.y0 < inside.y1 else None


def tiles(size: tuple[int, int], side: int, overlap: float) -> list[Window]:
    """Squares of `side` pixels that cover a picture, as evenly as whole pixels allow, row by row.

    Args:
        size: (height, width) of the picture; along a shorter side a tile is as short.
        overlap: least share of `side` that neighbours have in common, in [0, 1).
    """
    rows, columns = (_starts(length, side, overlap) for length in size)
    return [Window(x, y, min(x + side, size[1]), min(y + side, size[0])) for y in rows for x in columns]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    count = 1 + math.ceil((length - side) / max(1.0, side * (1 - overlap)))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def around(boxes: Sequence[Box], size: tuple[int, int], side: int) -> list[tuple[Window, list[int]]]:
    """Squares of at least `side` pixels in a picture, each with the indices of the boxes that it shows from all sides.

    A box longer than half a side has a square twice as long as it. Boxes near each other share a square.

    Args:
        size: (height, width) of the picture: a square ends where it ends.
    """
    found: list[tuple[Window, list[int]]] = []
    for i, box in enumerate(boxes):
        longest = max(box.x1 - box.x0, box.y1 - box.y0)
        needed = square(box, size, math.ceil(1.5 * longest))
        place = next((rows for window, rows in found if _holds(window, needed)), None)
        if place is None:
            found.append((square(box, size, max(side, math.ceil(2 * longest))), [i]))
        else:
            place.append(i)
    return found


def square(box: Box, size: tuple[int, int], side: int) -> Window:
    """The square of `side` pixels around a box's middle, moved into the picture, and no longer than that.

    Args:
        size: (height, width) of the picture.
    """
    x, y = box.center
    height, width = size
    left, top = (
        min(max(0, round(middle - side / 2)), max(0, length - side)) for middle, length in ((x, width), (y, height))
    )
    return Window(left, top, min(left + side, width), min(top + side, height))


def _holds(window: Window, other: Window) -> bool:
    return window.x0 <= other.x0 and window.y0 <= other.y0 and window.x1 >= other.x1 and window.y1 >= other.y1
