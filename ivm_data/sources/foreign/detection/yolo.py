"""YOLO as ultralytics reads it, boxes, outlines and turned boxes; and Darknet's layout, which CVAT exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, LeftOut, Record, Target, checked
from ivm_data.sources.foreign.common.labeled_shapes import Shape, pairs_of_labels
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.containers.image_folder import referenced
from ivm_data.sources.foreign.detection.yolo_layout import Layout, find_layout
from storage.common.validation import Checked

_SLACK = 0.01
"""Share by which a coordinate may leave the image; tools round, and draw a little beyond the edge."""


@dataclass(frozen=True)
class YoloConfig(Checked):
    """Which data set, and which splits may train.

    Attributes:
        data: `data.yaml`; or CVAT's `obj.data`; or a folder with `classes.txt`, images and their label files.
        images: folder of the data set, relative to the image root; without it the manifest must lie above the images.
        instruction: with `{name}` for the class.
        held_out: splits whose pairs only score, with blanks between them.
        splits: read only these splits; all where it is "".
    """

    data: str
    images: str = ""
    instruction: Template = "Find every {name}."
    held_out: str = "val test"
    splits: str = ""


def read_yolo(config: YoloConfig) -> Iterator[Record]:
    """YOLO: each class of an image is an instruction, its outlines are the masks, or its boxes.

    Reads: data.yaml, obj.data or classes.txt; images; labels/*.txt
    """
    layout = find_layout(config.data)
    for split, image in layout.images(config.splits.split()):
        where = image.relative_to(layout.root).as_posix() if image.is_relative_to(layout.root) else image.name
        yield from checked(where, _pairs, where, split, image, layout, config)


def _pairs(where: str, split: str, image: Path, layout: Layout, config: YoloConfig) -> Iterator[Record]:
    """Lines without any object, and no label file at all, are an image that asks for nothing."""
    if not image.is_file():
        raise ValueError("there is no such image file")
    labels = layout.labels(image)
    lines = labels.read_text(encoding="utf-8-sig").splitlines() if labels else []
    drawn = [_shape(line.split(), layout) for line in lines if line.strip()]
    reference, held_out = referenced(image, layout.root, config.images), split in config.held_out.split()
    pattern = ForeignPair(reference, config.instruction, difficulty=split, held_out=held_out)
    yield from pairs_of_labels(pattern, drawn, where)


def _shape(fields: list[str], layout: Layout) -> Shape:
    """A line's class, which must be known, and how to draw what it says."""
    number = float(fields[0])
    name = layout.names.get(int(number)) if number.is_integer() else None
    if name is None:
        raise ValueError(f"class {fields[0][:20]!r} is none of the {len(layout.names)} that the data set names")
    return Shape(name, partial(_target, fields[1:], layout))


def _target(fields: list[str], layout: Layout) -> Target | LeftOut:
    values = [float(field) for field in fields]
    if layout.keypoints:
        values = values[:4]
    if not all(-_SLACK <= value <= 1 + _SLACK for value in values):
        raise ValueError(f"coordinates must be shares of width and height, from 0 to 1, got {' '.join(fields)[:60]}")
    if len(values) == 4:
        x, y, width, height = values
        if not (width > 0 and height > 0):
            raise ValueError(f"a box of width {width} and height {height} covers nothing")
        return {"box": [x - width / 2, y - height / 2, x + width / 2, y + height / 2], "frame": "image"}
    if len(values) >= 6 and len(values) % 2 == 0:
        return {"polygons": [values], "frame": "image"}
    hint = "; a fifth number is a model's confidence" if len(values) == 5 else ""
    raise ValueError(f"{len(values)} numbers are neither a box (4) nor an outline (6, 8, ...){hint}")
