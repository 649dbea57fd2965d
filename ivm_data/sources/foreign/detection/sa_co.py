"""SA-Co (Carion et al. 2025, SAM 3): COCO-like files in which an "image" is an image with one noun phrase."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, BinaryIO

import numpy as np

from ivm_data.sources.foreign.common.foreign_reader import (
    BadRecord,
    ForeignPair,
    Record,
    Target,
    box_target,
    checked,
    existing,
)
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.json_stream import read_at, stream
from ivm_data.sources.foreign.common.record_ids import record_id
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.detection.coco_target import image_size
from ivm_data.sources.marked_size import Size
from storage.common.validation import Checked


@dataclass(frozen=True)
class SaCoConfig(Checked):
    """Which file.

    Attributes:
        annotations: `gold_*_release_test.json`, `silver_*_test.json` or their like, of one annotator.
        images: folder of the image files, relative to the image root.
        instruction: with `{name}` for the phrase.
        held_out: these pairs only score.
    """

    annotations: str
    images: str = ""
    instruction: Template = "Find all instances of {name}."
    held_out: bool = False


def read_sa_co(config: SaCoConfig) -> Iterator[Record]:
    """SA-Co: an image's phrase is an instruction, all masks of it the label; a phrase without any is a negative.

    Reads: gold_*.json, silver_*.json
    """
    path = existing(config.annotations, "annotations")
    places = _Places()
    positions = count()
    for node in stream(path):
        if node.key == "annotations":
            where = f"{path.name}: annotations[{next(positions)}]"
            yield from checked(where, places.add, node.value, node.start, node.stop)
        elif node.key == "images":
            places.know(node.value)
    for image in places.sort():
        yield BadRecord(f"{path.name}: an annotation of image {image}", "the file has no such image")
    with path.open("rb") as file:
        for position, node in enumerate(node for node in stream(path) if node.key == "images"):
            yield from checked(f"{path.name}: images[{position}]", _pairs, node.value, places, file, config)


class _Places:
    """Where each image's annotations lie in the file: 24 bytes for one, and 8 for an image.

    Attributes:
        lost: annotations of which nobody knows the image.
    """

    def __init__(self) -> None:
        self._found, self._images, self.lost = array("q"), array("q"), 0

    def add(self, annotation: dict[str, Any], start: int, stop: int) -> list[Record]:
        self.lost += 1
        self._found.extend(array("q", (record_id(annotation["image_id"]), start, stop)))
        self.lost -= 1
        return []

    def know(self, image: Any) -> None:
        with suppress(Exception):  # an image without an id is a bad record when it is read
            self._images.append(record_id(image["id"]))

    def sort(self) -> list[int]:
        """Get ready to be asked; returns the images that annotations name and the file does not have."""
        row_N3 = np.frombuffer(self._found, np.int64).reshape(-1, 3)
        self._row_N3 = row_N3[np.argsort(row_N3[:, 0], kind="stable")]
        missing = ~np.isin(self._row_N3[:, 0], np.frombuffer(self._images, np.int64))
        self.lost += int(missing.sum())
        return [int(image) for image in self._row_N3[missing, 0]]

    def of(self, image: int) -> list[list[int]]:
        first, last = np.searchsorted(self._row_N3[:, 0], [image, image + 1])
        places: list[list[int]] = self._row_N3[first:last, 1:].tolist()
        return places


def _pairs(image: dict[str, Any], places: _Places, file: BinaryIO, config: SaCoConfig) -> Iterator[ForeignPair]:
    """Where the masks are not all of the phrase's instances, they are no label for "every".

    A phrase is a negative where the file says that every instance is marked and none is, unless annotations got lost.
    """
    size = image_size(image)
    targets = tuple(_target(read_at(file, start, stop), size) for start, stop in places.of(record_id(image["id"])))
    exhaustive = bool(image.get("is_instance_exhaustive", bool(targets)))
    known = exhaustive and (bool(targets) or not places.lost)
    yield ForeignPair(
        image=image_path(config.images, image["file_name"]),
        instruction=config.instruction.format(name=image["text_input"]),
        kind="all" if targets else "none",
        held_out=config.held_out,
        targets=targets if known else None,
    )


def _target(annotation: dict[str, Any], size: Size | None) -> Target:
    """The mask, or else the box: XYWH in shares of width and height."""
    if mask := annotation.get("segmentation"):
        return {"mask_rle": {"size": mask["size"], "counts": mask["counts"]}}
    if annotation.get("bbox") is None:
        raise ValueError("an annotation has neither a segmentation nor a box")
    x, y, width, height = annotation["bbox"]
    return box_target(x, y, width, height) | {"frame": "image"} | ({"size": list(size)} if size else {})
