"""Images with instructions, boxes and masks, and the content addresses of the first two."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

MISSING = math.nan
"""A score that no expert gave; stored as SQL NULL."""


def same(one: object, other: object) -> Any:
    """Equality of records, field by field, in which one MISSING is another: Python 3.13 compares NaN by its value."""
    if type(one) is not type(other):
        return NotImplemented
    pairs = ((getattr(one, each.name), getattr(other, each.name)) for each in fields(one))  # type: ignore[arg-type]
    return all(mine is theirs or mine == theirs for mine, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Box:
    """A box in XYXY order, pixels of the original image, right and bottom exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Area in square pixels; 0 for an inverted box."""
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle, in pixels."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask in COCO's compressed run-length encoding; `storage.pixels.rle` encodes and decodes it."""

    height: int
    width: int
    counts: bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a recording an image lies.

    Attributes:
        episode: name of the recording, one of its own in the data set: `g1/3`.
        camera: which of the recording's cameras; "" where it is not said.
        frame: number of the frame in the episode, from 0; None for no video.
        time_s: seconds from the episode's start; None where nobody knows.
    """

    episode: str
    camera: str = ""
    frame: int | None = None
    time_s: float | None = None


@dataclass(frozen=True)
class Sample:
    """One question to the engine: which pixels of this image does this instruction need?

    Attributes:
        id: hash of image bytes and instruction, from `sample_id`.
        image: the encoded image file, bytes as read.
        image_uri: where the bytes came from, relative to the manifest where possible.
        width, height: size in pixels after EXIF rotation, the frame of every mask and box.
        source: name of the data set.
        kind: the source's own word for the type of instruction, or "".
        difficulty: the source's own word for how hard the pair is, or "".
        human_mask: a mask drawn by a person or known by construction; no stage before the gate sees it.
        held_out: the human mask only scores labels; it is never trained or calibrated on.
        human_boxes: boxes drawn by a person around everything that the instruction needs, where there is no human
            mask. They take the grounder's place: the segmenter turns them into the mask.
        moment: where in an episode the image lies; None for a still.
    """

    id: str
    image: bytes
    image_uri: str
    width: int
    height: int
    instruction: str
    source: str
    kind: str = ""
    difficulty: str = ""
    human_mask: Rle | None = None
    held_out: bool = False
    human_boxes: tuple[Box, ...] = ()
    moment: Moment | None = None

    @cached_property
    def image_sha(self) -> str:
        """Content address of the image, as `image_sha` makes it; hashed once."""
        return image_sha(self.image)


def image_sha(image: bytes) -> str:
    """Content address of an encoded image file, its one identity everywhere: 32 hex digits of BLAKE2b."""
    return hashlib.blake2b(image, digest_size=16).hexdigest()


def sample_id(image: bytes, instruction: str) -> str:
    """Content address of a pair: 32 hex digits of BLAKE2b over image bytes and instruction."""
    digest = hashlib.blake2b(image, digest_size=16)
    digest.update(b"\x00" + instruction.encode())
    return digest.hexdigest()
