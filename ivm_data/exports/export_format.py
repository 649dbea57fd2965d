"""What a format is, and what the formats share.

A format is one file in this package and one line in `formats.FORMATS`:

    @dataclass(frozen=True)
    class YoloOptions:
        category: Category = "phrase"   # every option has a default; str, int, float, bool or Literal

    def write_yolo(items: Iterable[Item], folder: Path, options: YoloOptions) -> Counts:
        \"""YOLO-seg: a line of polygons an image, for ultralytics.

        Loses: status, quality
        \"""

The docstring is what `ivm export` shows. A writer gets the labels one at a time, each sample once, and an empty folder,
and holds no more than names in memory; the folder gets its real name when it is whole. Equal labels and options make
equal bytes: no time, no random id, no path of this machine. What a format has no place for is counted as `left_out`.
Heavy imports belong inside functions.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image

from storage.pixels import images, rle
from storage.records import Label, Rle

Category = Literal["instruction", "phrase", "target"]
"""What a class is in a format that has classes: the instruction, its target phrases, or one class for everything."""

_SUFFIXES = {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}
"""File endings that are not the name of their format. Of a photo of several pictures (MPO) the first is a JPEG."""
_PLAIN_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
"""Pillow's names of pixels of 8 bits that every tool shows alike."""


@dataclass(frozen=True)
class Opens:
    """Image files that a tool opens; others become a PNG of the same pixels.

    Attributes:
        formats: Pillow's names of them.
        every_mode: also 16 bits, CMYK, and files of several pictures.
    """

    formats: frozenset[str]
    every_mode: bool = False


EVERYWHERE = Opens(frozenset({"JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM"}))
"""Files that both Pillow, in all its versions, and OpenCV read."""
BROWSERS = Opens(frozenset({"JPEG", "PNG", "BMP", "WEBP", "GIF"}))
"""Files that a web page shows."""
PILLOW = Opens(frozenset(images.FORMATS), every_mode=True)
"""Files that the Pillow of today reads."""


@dataclass(frozen=True)
class Item:
    """A label to write.

    Attributes:
        mask: the engine's mask, or the person's.
        mask_by: who made it.
    """

    label: Label
    mask: Rle
    mask_by: Literal["engine", "human"] = "engine"

    @property
    def absent(self) -> bool:
        """The thing asked for is not in the image."""
        return rle.area(self.mask) == 0

    def facts(self) -> dict[str, Any]:
        """What our records know beyond image and mask, as JSON values; the quality is None where it is not known."""
        sample, quality = self.label.sample, self.label.scores.quality
        return {
            "sample_id": sample.id,
            "instruction": sample.instruction,
            "source": sample.source,
            "kind": sample.kind,
            "difficulty": sample.difficulty,
            "held_out": sample.held_out,
            "status": self.label.status.value,
            "quality": None if math.isnan(quality) else quality,
            "mask_by": self.mask_by,
        }

    def category(self, kind: Category) -> str:
        """Name of the label's class."""
        if kind == "phrase":
            return " and ".join(self.label.request.phrases) or self.label.sample.instruction
        return self.label.sample.instruction if kind == "instruction" else "target"


@dataclass
class Counts:
    """What a writer wrote.

    Attributes:
        labels: with a mask.
        no_target: written as "not in the image".
        left_out: the format has no place for them.
        images: files, or images inside files.
    """

    labels: int = 0
    no_target: int = 0
    left_out: int = 0
    images: int = 0

    def add(self, item: Item) -> None:
        """Count a label that was written."""
        if item.absent:
            self.no_target += 1
        else:
            self.labels += 1


class Stored(NamedTuple):
    """An image's file name, its number in order of arrival, from 0, and whether it is new."""

    name: str
    number: int
    fresh: bool


class ImageFolder:
    """A folder with each image once, named by its hash, as a file that a tool opens."""

    def __init__(self, folder: Path, opens: Opens = EVERYWHERE) -> None:
        self.folder, self.opens = folder, opens
        self._stored: dict[str, Stored] = {}
        folder.mkdir(parents=True)

    def __len__(self) -> int:
        return len(self._stored)

    def add(self, item: Item) -> Stored:
        """Write the label's image where it is not there yet."""
        sha = item.label.sample.image_sha
        if sha in self._stored:
            return self._stored[sha]
        data, suffix = fitting(item.label.sample.image, self.opens)
        stored = Stored(f"{sha}.{suffix}", len(self), fresh=True)
        (self.folder / stored.name).write_bytes(data)
        self._stored[sha] = stored._replace(fresh=False)
        return stored


def fitting(image: bytes, opens: Opens) -> tuple[bytes, str]:
    """(the encoded image, suffix of its format), the same bytes where a tool opens them and EXIF does not turn them.

    Masks are in the frame after EXIF rotation, and most readers do not turn: a turned image becomes a PNG that needs
    no turning. So does one that the tool does not open: the pixels are those that were labeled.
    """
    with Image.open(io.BytesIO(image), formats=images.FORMATS) as opened:
        form = str(opened.format)
        several = form != "MPO" and getattr(opened, "n_frames", 1) > 1
        plain = opens.every_mode or (opened.mode in _PLAIN_MODES and not several)
        if images.is_upright(opened) and plain and ("JPEG" if form == "MPO" else form) in opens.formats:
            return image, _SUFFIXES.get(form.lower(), form.lower())
    stream = io.BytesIO()
    Image.fromarray(images.decode(image)).save(stream, "PNG")
    return stream.getvalue(), "png"


def mask_png(mask: Rle) -> bytes:
    """The mask as a gray PNG, 255 in the foreground."""
    stream = io.BytesIO()
    Image.fromarray(rle.decode_gray(mask)).save(stream, "PNG")
    return stream.getvalue()


def coco_rle(mask: Rle) -> dict[str, Any]:
    """The mask as COCO's JSON object with compressed counts."""
    return {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")}


@contextmanager
def json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """Write a JSON file that is one list, a value a line; gives the function that appends a value."""
    with path.open("w", encoding="utf-8") as file:
        start = "[\n"

        def append(value: Any) -> None:
            nonlocal start
            file.write(start + json.dumps(value, ensure_ascii=False, allow_nan=False))
            start = ",\n"

        yield append
        file.write("[]\n" if start == "[\n" else "\n]\n")


def join_lists(path: Path, members: Mapping[str, Any], lists: Mapping[str, Path]) -> None:
    """Write a JSON object of small members and of lists that `json_list` wrote, whose files are removed."""
    with path.open("wb") as file:
        for position, (name, value) in enumerate(members.items()):
            file.write(f"{',' if position else '{'}{json.dumps(name)}: {json.dumps(value)}\n".encode())
        for name, part in lists.items():
            file.write(f",{json.dumps(name)}: ".encode())
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file)
            part.unlink()
        file.write(b"}\n")
