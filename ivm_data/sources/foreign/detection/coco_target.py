"""One COCO annotation -> a target: its mask, or its box where it has none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import Target, box_target, number, numbers
from ivm_data.sources.marked_size import Size

LEAST = 6
"""Numbers of the shortest polygon, a triangle."""


@dataclass
class Marks:
    """The targets of one image by category, and how far they reach.

    Attributes:
        size: (height, width) that the file gives the image; None where it gives none.
        scaled: polygons are scaled with the size that the file gives (Label Studio), boxes are not.
        right, bottom: the largest x and y of polygons and boxes, in pixels.
        dropped: parts that are no polygon and were left out, by kind.
    """

    size: Size | None
    scaled: bool = False
    right: float = 0.0
    bottom: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, annotation: dict[str, Any]) -> Target:
        """The target of an annotation.

        Raises:
            ValueError: it is not as COCO writes it.
        """
        segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
        if isinstance(segmentation, dict):
            return {"mask_rle": _runs(segmentation)}
        if isinstance(segmentation, list) and segmentation:
            polygons = self._polygons(segmentation, box)
            if polygons:
                return {"polygons": polygons}
        elif segmentation is not None and segmentation != []:
            raise ValueError(f"a segmentation must be polygons or run lengths, got {segmentation!r:.60}")
        return self._box(box)

    def sized(self, target: Target) -> Target:
        """The target with the size that its pixels are of, when every annotation of the image was added.

        Where all marks lie in the frame of the exchanged size too, the file may have height and width exchanged.
        """
        if self.size is None or "mask_rle" in target:
            return target
        height, width = self.size
        may_swap = height != width and (self.scaled or (self.right <= height + 1 and self.bottom <= width + 1))
        sized = target | {"size": [height, width]} | ({"swap": True} if may_swap else {})
        if self.scaled and "polygons" in target:
            shares = [[edge / (height if odd else width) for odd, edge in _by_axis(one)] for one in target["polygons"]]
            return sized | {"polygons": shares, "frame": "image"}
        return sized

    def _polygons(self, segmentation: list[Any], box: Any) -> list[list[float]]:
        """Polygons of three points and more. Shorter ones cover nothing; the corners of the box stand for the box."""
        parts = [segmentation] if isinstance(segmentation[0], int | float) else segmentation
        kept = []
        for part in parts:
            if not isinstance(part, list):
                raise ValueError(f"a polygon must be a list of x, y, x, y, ..., got {part!r:.60}")
            edges = numbers(part)
            if len(edges) % 2:
                raise ValueError(f"a polygon has an odd number of coordinates, {len(edges)}")
            if len(edges) >= LEAST:
                kept.append(edges)
                self._reach(max(edges[::2]), max(edges[1::2]))
            elif len(edges) == 4 and len(parts) == 1 and not _are_corners(edges, box):
                raise ValueError(f"the segmentation {edges} has two points and is not the box {box!r:.60} either")
            else:
                self.dropped["polygon of fewer than 3 points"] += 1
        return kept

    def _box(self, box: Any) -> Target:
        if box is None or box == []:
            raise ValueError("it has neither a segmentation nor a box")
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError(f"a box must be [x, y, width, height], got {box!r:.60}")
        target = box_target(*box)
        self._reach(*target["box"][2:])
        return target

    def _reach(self, right: float, bottom: float) -> None:
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)


def image_size(image: dict[str, Any]) -> Size | None:
    """(height, width) that a file gives an image; None where it gives none.

    Raises:
        ValueError: they are no whole numbers above 0.
    """
    sides = image.get("height"), image.get("width")
    if sides[0] is None or sides[1] is None:
        return None
    height, width = (number(side) for side in sides)
    if not (height == int(height) > 0 and width == int(width) > 0):
        raise ValueError(f"height and width of an image must be whole numbers above 0, got {sides}")
    return int(height), int(width)


def _runs(segmentation: dict[str, Any]) -> dict[str, Any]:
    if not {"size", "counts"} <= set(segmentation):
        raise ValueError(f"run lengths need 'size' and 'counts', got the keys {', '.join(map(str, segmentation))[:60]}")
    return {"size": segmentation["size"], "counts": segmentation["counts"]}


def _are_corners(edges: list[float], box: Any) -> bool:
    """Whether four numbers are a box, as XYWH or as two corners."""
    if not isinstance(box, list) or len(box) != 4:
        return False
    x, y, width, height = (number(edge) for edge in box)
    return any(
        all(abs(edge - other) <= 1 for edge, other in zip(edges, form, strict=True))
        for form in ((x, y, width, height), (x, y, x + width, y + height))
    )


def _by_axis(edges: list[float]) -> list[tuple[int, float]]:
    return [(place % 2, edge) for place, edge in enumerate(edges)]
