"""YOLO-seg, as ultralytics reads it: `data.yaml`, `images/{train,val}/`, `labels/{train,val}/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivm_data.exports.export_format import Category, Counts, Item, Opens, fitting
from ivm_data.exports.outlines import join, polygons
from storage.common.validation import Checked, NotNegative

_OPENS = Opens(frozenset({"JPEG", "PNG", "BMP", "WEBP", "TIFF"}))
"""What both ultralytics (IMG_FORMATS) and supervision list; files of other formats are silently not trained on."""


@dataclass(frozen=True)
class YoloOptions(Checked):
    """How masks and classes are written.

    Attributes:
        category: what a class is.
        tolerance: pixels by which polygons may leave out vertices; 0 follows every pixel.
    """

    category: Category = "phrase"
    tolerance: NotNegative = 0.5


def write_yolo(items: Iterable[Item], folder: Path, options: YoloOptions) -> Counts:
    """YOLO-seg: a line with class and polygon a label; an image with nothing but absent targets is a background.

    Held-out pairs make the `val` split; an image goes where its first pair goes.

    Loses: instruction (unless it is the class), status, quality, which target is absent; pixels at the edges
    """
    counts, classes, files = Counts(), dict[str, int](), dict[str, Path]()
    for item in items:
        sha = item.label.sample.image_sha
        if sha not in files:
            files[sha] = _write_image(item, folder, sha)
        with files[sha].open("a", encoding="ascii") as lines:
            if not item.absent:
                number = classes.setdefault(item.category(options.category), len(classes))
                lines.write(f"{number} {_points(item, options.tolerance)}\n")
        counts.add(item)
    splits = {path.parent.name for path in files.values()}
    _write_yaml(folder / "data.yaml", splits, classes)
    counts.images = len(files)
    return counts


def _write_image(item: Item, folder: Path, sha: str) -> Path:
    """Write the image; returns the path of its label file."""
    split = "val" if item.label.sample.held_out else "train"
    data, suffix = fitting(item.label.sample.image, _OPENS)
    for kind in ("images", "labels"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    (folder / "images" / split / f"{sha}.{suffix}").write_bytes(data)
    return folder / "labels" / split / f"{sha}.txt"


def _points(item: Item, tolerance: float) -> str:
    """All components as one polygon, as YOLO knows one an object; shares of width and height.

    Nine digits are a whole float32, in which ultralytics multiplies before it cuts to pixels.
    """
    whole_N2 = join(polygons(item.mask, tolerance)) / np.array([item.mask.width, item.mask.height])
    return " ".join(f"{value:.9g}" for value in whole_N2.ravel().tolist())


def _write_yaml(path: Path, splits: set[str], classes: dict[str, int]) -> None:
    """Ultralytics wants both splits named; without `path` it starts from the folder of this file."""
    import yaml

    folders = {name: f"images/{name if name in splits else min(splits)}" for name in ("train", "val")}
    document = folders | {"names": {number: name for name, number in classes.items()}}
    path.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
