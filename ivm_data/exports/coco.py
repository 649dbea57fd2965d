"""COCO instances: `instances.json` beside `images/`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ivm_data.exports.export_format import (
    Category,
    Counts,
    ImageFolder,
    Item,
    coco_rle,
    join_lists,
    json_list,
)
from ivm_data.exports.outlines import polygons
from storage.common.validation import Checked, NotNegative
from storage.pixels import rle


@dataclass(frozen=True)
class CocoOptions(Checked):
    """How masks and classes are written.

    Attributes:
        masks: compressed RLE, or polygons along the edges of pixels, exact too; a hole is reached by a cut of no width.
        tolerance: pixels by which polygons may leave out vertices; 0 is exact.
        category: what a class is. With `instruction`, `ivm import coco --set instruction={name}` gives the pairs back.
    """

    masks: Literal["rle", "polygons"] = "rle"
    tolerance: NotNegative = 0.0
    category: Category = "instruction"


def write_coco(items: Iterable[Item], folder: Path, options: CocoOptions) -> Counts:
    """COCO: an annotation a label with `instruction`, `quality` and more; absent targets in the list `no_target`.

    Loses: proposals, heatmap; to readers of COCO an absent target is but an image without annotation
    """
    return write_instances(items, folder / "instances.json", ImageFolder(folder / "images"), options)


def write_instances(items: Iterable[Item], document: Path, files: ImageFolder, options: CocoOptions) -> Counts:
    """Write a COCO document, and the images into a folder."""
    counts, classes = Counts(), dict[str, int]()
    lists = {key: document.with_name(f"{key}.part") for key in ("images", "annotations", "no_target")}
    with ExitStack() as stack:
        append = {key: stack.enter_context(json_list(path)) for key, path in lists.items()}
        for item in items:
            image = files.add(item)
            if image.fresh:
                size = {"height": item.mask.height, "width": item.mask.width}
                append["images"]({"id": image.number + 1, "file_name": image.name, **size})
            if item.absent:
                append["no_target"]({"image_id": image.number + 1, **item.facts()})
            else:
                number = classes.setdefault(item.category(options.category), len(classes) + 1)
                ids = {"id": counts.labels + 1, "image_id": image.number + 1, "category_id": number}
                append["annotations"](ids | _annotation(item, options))
            counts.add(item)
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in classes.items()]
    members = {"info": {"description": "instruction-guided masks"}, "licenses": [], "categories": categories}
    join_lists(document, members, lists)
    counts.images = len(files)
    return counts


def _annotation(item: Item, options: CocoOptions) -> dict[str, Any]:
    box = rle.bbox(item.mask)
    assert box is not None
    outlines = polygons(item.mask, options.tolerance) if options.masks == "polygons" else []
    return {
        "segmentation": [outline.ravel().tolist() for outline in outlines] or coco_rle(item.mask),
        "area": rle.area(item.mask),
        "bbox": [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0],
        "iscrowd": 0,
        **item.facts(),
    }
