"""FiftyOne's COCODetectionDataset: `labels.json` beside `data/`.

Layout and reading as in fiftyone/utils/coco.py: image files by their name in `data/`, compressed RLE through
pycocotools, keys that COCO does not have through `extra_attrs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ivm_data.exports.coco import CocoOptions, write_instances
from ivm_data.exports.export_format import BROWSERS, Category, Counts, ImageFolder, Item


@dataclass(frozen=True)
class FiftyOneOptions:
    """What a class is.

    Attributes:
        category: becomes the label of a detection; the instruction is an attribute of it anyway.
    """

    category: Category = "phrase"


def write_fiftyone(items: Iterable[Item], folder: Path, options: FiftyOneOptions) -> Counts:
    """FiftyOne: a COCODetectionDataset; a label is a detection with a mask, `instruction`, `quality` and more.

    Loses: proposals, heatmap; an absent target is a sample without detections
    """
    return write_instances(
        items, folder / "labels.json", ImageFolder(folder / "data", BROWSERS), CocoOptions(category=options.category)
    )
