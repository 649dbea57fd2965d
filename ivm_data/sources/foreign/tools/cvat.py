"""CVAT's own XML, "CVAT for images 1.1".

Its other exports are of other sources: COCO 1.0 `coco`, Pascal VOC 1.1 and Segmentation mask 1.1 `pascal-voc`, YOLO and
Ultralytics YOLO `yolo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ivm_data.sources.foreign.common import shapes
from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, LeftOut, Record, Target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.labeled_shapes import Shape, pairs_of_labels
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.marked_size import Size
from storage.common.validation import Checked
from storage.errors import ConfigError
from storage.pixels.images import DEFAULT_LIMITS

_MARKS = ("polyline", "points", "cuboid", "skeleton", "tag")
"""Elements that cover no area that is known."""
_SHAPES = ("box", "polygon", "ellipse", "mask")


@dataclass(frozen=True)
class CvatConfig(Checked):
    """Which file, and how a label becomes an instruction.

    Attributes:
        annotations: `annotations.xml` of an export as "CVAT for images 1.1".
        images: folder of the image files, relative to the image root.
        instruction: with `{name}` for the label.
        held_out: these pairs only score.
    """

    annotations: str
    images: str = ""
    instruction: Template = "Find every {name}."
    held_out: bool = False


def read_cvat(config: CvatConfig) -> Iterator[Record]:
    """CVAT: each label of an image is an instruction, its polygons, masks and ellipses are the masks, or its boxes.

    Reads: annotations.xml of "CVAT for images 1.1"
    """
    path = existing(config.annotations, "annotations")
    for position, image in enumerate(_images(path)):
        where = f"{path.name}: image {image.get('id', position)}"
        yield from checked(where, _pairs, where, image, config)


def _images(path: Path) -> Iterator[ElementTree.Element]:
    """The <image> elements, each forgotten when the next is read.

    Raises:
        ConfigError: another kind of XML, or none.
    """
    seen = 0
    try:
        events = ElementTree.iterparse(path, ("start", "end"))
        _, root = next(events)
        if root.tag != "annotations":
            raise ConfigError(f"'{path}' is no XML of CVAT: its root is <{root.tag[:40]}>, not <annotations>")
        for event, element in events:
            if event == "end" and element.tag == "track":
                raise ConfigError(f"'{path}' is 'CVAT for video'; export the task as 'CVAT for images 1.1'")
            if event == "end" and element.tag == "image":
                seen += 1
                yield element
                root.clear()
    except (ElementTree.ParseError, StopIteration) as error:
        raise ConfigError(f"'{path}' is no XML: {error}") from error
    if not seen:
        raise ConfigError(f"'{path}' has no <image>; export the task as 'CVAT for images 1.1'")


def _pairs(where: str, image: ElementTree.Element, config: CvatConfig) -> Iterator[Record]:
    size = int(image.attrib["height"]), int(image.attrib["width"])
    if min(size) < 1 or size[0] * size[1] > DEFAULT_LIMITS.max_pixels:
        raise ValueError(f"an image of (height, width) = {size}")
    name = image_path(config.images, image.attrib["name"])
    drawn = [Shape(shape.attrib.get("label", ""), partial(_target, shape, size)) for shape in image]
    yield from pairs_of_labels(ForeignPair(name, config.instruction, held_out=config.held_out), drawn, where)


def _target(shape: ElementTree.Element, size: Size) -> Target | LeftOut:
    kind, given = shape.tag, shape.attrib
    if kind in _MARKS:
        return LeftOut(kind)
    if kind == "mask":
        return _mask(given, size)
    if kind not in _SHAPES:
        raise ValueError(f"a <{kind[:40]}> is not known; {', '.join(_SHAPES)} are read")
    sized = {"size": list(size)}
    angle = float(given.get("rotation") or 0)
    if kind == "polygon":
        points = [tuple(map(float, point.split(","))) for point in given["points"].split(";")]
        return {"polygons": [_outline([(x, y) for x, y in points])]} | sized
    if kind == "ellipse":
        x, y, across, down = (float(given[name]) for name in ("cx", "cy", "rx", "ry"))
        return {"polygons": [_outline(shapes.ellipse(x, y, across, down, angle))]} | sized
    x0, y0, x1, y1 = (float(given[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"the box {x0, y0, x1, y1} covers nothing")
    if not angle:
        return {"box": [x0, y0, x1, y1]} | sized
    corners = shapes.rectangle(x0, y0, x1 - x0, y1 - y0)
    return {"polygons": [_outline(shapes.turned(corners, angle, ((x0 + x1) / 2, (y0 + y1) / 2)))]} | sized


def _outline(points: shapes.Points) -> list[float]:
    if len(points) < 3:
        raise ValueError(f"a polygon needs 3 points, got {len(points)}")
    return shapes.flat(points)


def _mask(given: dict[str, str], size: Size) -> Target:
    """Runs of a box, row by row, of background and foreground in turn, background first."""
    x, y, width, height = (int(float(given[name])) for name in ("left", "top", "width", "height"))
    run_N = np.array([int(run) for run in given["rle"].split(",")], np.int64)
    if min(x, y) < 0 or min(width, height) < 1 or y + height > size[0] or x + width > size[1]:
        raise ValueError(f"a mask at {x, y} of {width} by {height} pixels leaves the image of {size}")
    if (run_N < 0).any() or run_N.sum() != width * height:
        raise ValueError(f"a mask's runs are {given['rle'][:40]!r}, which do not cover {width * height} pixels")
    part_HW = np.repeat(np.arange(len(run_N)) % 2 == 1, run_N).reshape(height, width)
    mask_HW = np.zeros(size, bool)
    mask_HW[y : y + height, x : x + width] = part_HW
    return shapes.mask_target(mask_HW)
