"""SA-Co (Carion et al. 2025, SAM 3): COCO-like files in which an "image" is an image with one noun phrase."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, Target, checked, existing, image_path
from ivm_data.sources.foreign.json_stream import read_at, stream
from ivm_data.sources.foreign.wording import Template
from storage.validation import Checked


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


def read_sa_co(config: SaCoConfig) -> Iterator[ForeignPair | BadRecord]:
    """SA-Co: an image's phrase is an instruction, all masks of it the label; a phrase without any is a negative.

    Reads: gold_*.json, silver_*.json
    """
    path = existing(config.annotations, "annotations")
    places = _Places()
    for position, node in enumerate(node for node in stream(path) if node.key == "annotations"):
        yield from checked(f"{path.name}: annotations[{position}]", places.add, node.value, node.start, node.stop)
    places.sort()
    with path.open("rb") as file:
        for position, node in enumerate(node for node in stream(path) if node.key == "images"):
            yield from checked(f"{path.name}: images[{position}]", _pairs, node.value, places, file, config)


class _Places:
    """Where each image's annotations lie in the file: 24 bytes for one."""

    def __init__(self) -> None:
        self._found = array("q")

    def add(self, annotation: dict[str, Any], start: int, stop: int) -> list[ForeignPair]:
        self._found.extend(array("q", (int(annotation["image_id"]), start, stop)))
        return []

    def sort(self) -> None:
        row_N3 = np.frombuffer(self._found, np.int64).reshape(-1, 3)
        self._row_N3 = row_N3[np.argsort(row_N3[:, 0], kind="stable")]

    def of(self, image: int) -> list[list[int]]:
        first, last = np.searchsorted(self._row_N3[:, 0], [image, image + 1])
        return self._row_N3[first:last, 1:].tolist()


def _pairs(image: dict[str, Any], places: _Places, file: BinaryIO, config: SaCoConfig) -> Iterator[ForeignPair]:
    """Where the masks are not all of the phrase's instances, they are no label for "every"."""
    targets = tuple(_target(read_at(file, start, stop)) for start, stop in places.of(int(image["id"])))
    yield ForeignPair(
        image=image_path(config.images, image["file_name"]),
        instruction=config.instruction.format(name=image["text_input"]),
        kind="all" if targets else "none",
        held_out=config.held_out,
        targets=targets if image.get("is_instance_exhaustive", True) else None,
    )


def _target(annotation: dict[str, Any]) -> Target:
    """The mask, or else the box: XYWH in shares of width and height."""
    if mask := annotation.get("segmentation"):
        return {"mask_rle": {"size": mask["size"], "counts": mask["counts"]}}
    x, y, width, height = annotation["bbox"]
    return {"box": [x, y, x + width, y + height], "frame": "image"}
