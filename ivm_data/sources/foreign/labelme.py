"""LabelMe (Russell et al. 2008; Wada's program): a JSON file beside each image."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, Target, checked, existing, image_path
from ivm_data.sources.foreign.wording import Template
from storage import rle
from storage.images import DEFAULT_LIMITS, ImageLimits, decode
from storage.validation import Checked

NO_TARGET = "no target: "
"""Before the label of a thing that is not there, among the flags of an image; our own addition to the format."""


@dataclass(frozen=True)
class LabelmeConfig(Checked):
    """Which folder, and how a label becomes an instruction.

    Attributes:
        folder: of the JSON files.
        images: folder of the image files, relative to the image root.
        instruction: with `{name}` for the label.
        held_out: these pairs only score.
    """

    folder: str
    images: str = ""
    instruction: Template = "{name}"
    held_out: bool = False


def read_labelme(config: LabelmeConfig) -> Iterator[ForeignPair | BadRecord]:
    """LabelMe: each label of an image is an instruction, all shapes that bear it are the masks.

    Reads: *.json
    """
    for path in sorted(existing(config.folder, "folder", folder=True).glob("*.json")):
        yield from checked(path.name, _pairs, path, config)


def _pairs(path: Path, config: LabelmeConfig) -> Iterator[ForeignPair]:
    document = json.loads(path.read_text(encoding="utf-8"))
    # The path may be Windows's, and lead out of the folder: only the name counts.
    image = image_path(config.images, PureWindowsPath(document["imagePath"]).name)
    size = (int(document["imageHeight"]), int(document["imageWidth"]))
    targets: dict[str, list[Target]] = defaultdict(list)
    for shape in document["shapes"]:
        targets[shape["label"]].append(_target(shape, size))
    for flag, chosen in (document.get("flags") or {}).items():
        if chosen and flag.startswith(NO_TARGET):
            targets[flag.removeprefix(NO_TARGET)] += []
    for label, found in targets.items():
        text = config.instruction.format(name=label)
        yield ForeignPair(image, text, held_out=config.held_out, targets=tuple(found))


def _target(shape: dict[str, Any], size: tuple[int, int]) -> Target:
    kind, points = shape.get("shape_type", "polygon"), shape["points"]
    if kind == "polygon":
        return {"polygons": [[float(edge) for point in points for edge in point]]}
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return {"box": [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]}
    if kind == "mask":
        return _pasted(shape["mask"], (int(y0), int(x0)), size)
    raise ValueError(f"a shape of type {kind!r} is no mask; polygon, rectangle and mask are read")


def _pasted(encoded: str, corner: tuple[int, int], size: tuple[int, int]) -> Target:
    """A mask of a box within the image."""
    if not 0 < size[0] * size[1] <= DEFAULT_LIMITS.max_pixels:
        raise ValueError(f"an image of (height, width) = {size}")
    part_HW = decode(base64.b64decode(encoded), ImageLimits(min_side=1)).any(axis=2)
    (y, x), (height, width) = corner, part_HW.shape
    mask_HW = np.zeros(size, bool)
    if min(y, x) < 0 or mask_HW[y : y + height, x : x + width].shape != part_HW.shape:
        raise ValueError(f"a mask of {part_HW.shape} at {corner} leaves the image of (height, width) = {size}")
    mask_HW[y : y + height, x : x + width] = part_HW
    mask = rle.encode(mask_HW)
    return {"mask_rle": {"size": list(size), "counts": mask.counts.decode("ascii")}}
