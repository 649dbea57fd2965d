"""LabelMe (Russell et al. 2008; Wada's program) and X-AnyLabeling: a JSON file for each image."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.sources.foreign.common import shapes
from ivm_data.sources.foreign.common.foreign_reader import (
    ForeignPair,
    LeftOut,
    Record,
    Target,
    checked,
    existing,
    load_json,
)
from ivm_data.sources.foreign.common.image_references import Claims, image_path, inside
from ivm_data.sources.foreign.common.labeled_shapes import Shape, by_label
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.detection.coco_target import image_size
from ivm_data.sources.manifest_rows import tidy_instruction
from ivm_data.sources.marked_size import Size
from storage.common.validation import Checked
from storage.pixels.images import DEFAULT_LIMITS, ImageLimits, decode

NO_TARGET = "no target: "
"""Before the label of a thing that is not there, among the flags of an image; our own addition to the format."""

_MARKS = ("point", "points", "line", "linestrip")
"""Types of shapes that cover no area."""


@dataclass(frozen=True)
class LabelmeConfig(Checked):
    """Which folder, and how a label becomes an instruction.

    Attributes:
        folder: of the JSON files, which may lie in folders below it.
        images: folder of the image files, relative to the image root. Without it an image that does not lie where its
            JSON file says is taken from the file, if it is embedded there.
        instruction: with `{name}` for the label.
        held_out: these pairs only score.
    """

    folder: str
    images: str = ""
    instruction: Template = "{name}"
    held_out: bool = False


def read_labelme(config: LabelmeConfig) -> Iterator[Record]:
    """LabelMe: each label of an image is an instruction, all shapes that bear it are the masks.

    Reads: *.json
    """
    folder = existing(config.folder, "folder", folder=True)
    claims, paths = Claims(), sorted(folder.rglob("*.json"))
    for path in paths:
        _claim(claims, path, folder)
    for path in paths:
        name = path.relative_to(folder).as_posix()
        yield from checked(name, _pairs, path, name, folder, claims, config)


def _claim(claims: Claims, path: Path, folder: Path) -> None:
    try:
        reference = load_json(path)["imagePath"]
        claims.add(_image_name(path, folder, reference), _absolute(path, reference))
    except Exception:  # the file is a bad record when it is read
        return


def _image_name(path: Path, folder: Path, reference: str) -> str:
    """The image as seen from the folder; only its name where it lies outside."""
    return inside(path.parent.relative_to(folder).as_posix(), reference)


def _absolute(path: Path, reference: str) -> str:
    return str(path.parent / reference.replace("\\", "/"))


def _pairs(path: Path, where: str, folder: Path, claims: Claims, config: LabelmeConfig) -> Iterator[Record]:
    document = load_json(path)
    name, size = _image_name(path, folder, document["imagePath"]), image_size(_sides(document))
    claims.check(name, "give them different names, or import each folder alone")
    image = _embedded(document, folder / name, config) or image_path(config.images, name)
    drawn = [Shape(shape["label"], partial(_target, shape, size)) for shape in document["shapes"]]
    targets, others = by_label(drawn, where)
    flags = document.get("flags") or {}
    chosen = [flag for flag, on in flags.items() if on is True and flag.startswith(NO_TARGET)]
    absent = {tidy_instruction(flag.removeprefix(NO_TARGET)) for flag in chosen}
    both = absent & {tidy_instruction(shape.label) for shape in drawn if isinstance(shape.label, str)}
    if both:
        raise ValueError(f"{min(both)!r:.60} is drawn, and flagged as not there")
    for label, found in [*targets.items(), *((label, []) for label in sorted(absent))]:
        text = config.instruction.format(name=label)
        yield ForeignPair(image, text, held_out=config.held_out, targets=tuple(found), unite=True)
    yield from others
    if not drawn and not absent:
        yield LeftOut("image without shapes")


def _sides(document: dict[str, Any]) -> dict[str, Any]:
    return {"height": document.get("imageHeight"), "width": document.get("imageWidth")}


def _embedded(document: dict[str, Any], beside: Path, config: LabelmeConfig) -> bytes | None:
    """The image that the file holds, where none lies beside it and nobody said where the images are."""
    data = document.get("imageData")
    if not data or config.images or beside.is_file():
        return None
    return base64.b64decode(data, validate=False)


def _target(shape: dict[str, Any], size: Size | None) -> Target | LeftOut:
    kind = shape.get("shape_type") or "polygon"
    if kind in _MARKS:
        return LeftOut(kind)
    points = shapes.points_of(shape["points"])
    if kind == "mask":
        if not points:
            raise ValueError("a shape of type 'mask' has no points")
        return _pasted(shape["mask"], (int(points[0][1]), int(points[0][0])), size)
    return _outlined(kind, points) | ({"size": list(size)} if size else {})


def _outlined(kind: str, points: shapes.Points) -> Target:
    if kind == "circle" and len(points) == 2:
        (x, y), edge = points
        return {"polygons": [shapes.flat(shapes.ellipse(x, y, *[math.dist((x, y), edge)] * 2))]}
    if kind == "rectangle" and (len(points) == 2 or shapes.is_upright(points)):
        x_N, y_N = zip(*points, strict=True)
        return {"box": [min(x_N), min(y_N), max(x_N), max(y_N)]}
    if kind in ("rectangle", "rotation", "oriented_rectangle", "quadrilateral") and len(points) == 4:
        return {"polygons": [shapes.flat(points)]}
    if kind == "polygon" and len(points) > 2:
        return {"polygons": [shapes.flat(points)]}
    raise ValueError(
        f"a shape of type {kind!r:.60} with {len(points)} points is no mask; polygon, rectangle, circle, rotation, "
        "oriented_rectangle and mask are read"
    )


def _pasted(encoded: str, corner: tuple[int, int], size: Size | None) -> Target:
    """A mask of a box within the image."""
    if size is None:
        raise ValueError("a shape of type 'mask' needs imageHeight and imageWidth")
    if size[0] * size[1] > DEFAULT_LIMITS.max_pixels:
        raise ValueError(f"an image of (height, width) = {size}")
    part_HW = decode(base64.b64decode(encoded), ImageLimits(min_side=1)).any(axis=2)
    (y, x), (height, width) = corner, part_HW.shape
    mask_HW = np.zeros(size, bool)
    if min(y, x) < 0 or mask_HW[y : y + height, x : x + width].shape != part_HW.shape:
        raise ValueError(f"a mask of {part_HW.shape} at {corner} leaves the image of (height, width) = {size}")
    mask_HW[y : y + height, x : x + width] = part_HW
    return shapes.mask_target(mask_HW)
