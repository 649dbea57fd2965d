"""Where an image lies in the picture that a model was given of it, and the way back to the image's own pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from storage.records import Box


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture with an image in it, perhaps resized, perhaps with a margin around it.

    Attributes:
        size: (width, height) of the picture.
        original: (width, height) of the image.
        scale: pixels of the image for each pixel of the picture, (x, y).
        offset: pixels of the picture before the image's left and top edge, (x, y).
    """

    size: tuple[int, int]
    original: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0, 0)

    def to_original(self, box: Box) -> Box:
        """A box in pixels of the picture as the part of it within the image, in the image's pixels."""
        width, height = self.original
        x0, x1 = (min(max((x - self.offset[0]) * self.scale[0], 0.0), width) for x in (box.x0, box.x1))
        y0, y1 = (min(max((y - self.offset[1]) * self.scale[1], 0.0), height) for y in (box.y0, box.y1))
        return Box(x0, y0, x1, y1)

    def point(self, x: float, y: float) -> tuple[float, float] | None:
        """A point in pixels of the picture in the image's pixels, (x, y); None where it lies in the margin."""
        width, height = self.original
        x, y = (x - self.offset[0]) * self.scale[0], (y - self.offset[1]) * self.scale[1]
        return (x, y) if 0 <= x <= width and 0 <= y <= height else None

    def resized(self, width: int, height: int) -> Frame:
        """The frame of this picture stretched to another size."""
        x, y = self.size[0] / width, self.size[1] / height
        scale, offset = (self.scale[0] * x, self.scale[1] * y), (self.offset[0] / x, self.offset[1] / y)
        return replace(self, size=(width, height), scale=scale, offset=offset)


def whole(width: int, height: int) -> Frame:
    """The frame of an image that is shown as it is."""
    return Frame((width, height), (width, height))
