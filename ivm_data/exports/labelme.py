"""LabelMe: an image and a JSON file of the same name."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ivm_data.exports.export_format import Counts, ImageFolder, Item, Opens, mask_png
from ivm_data.exports.outlines import polygons
from ivm_data.sources.foreign.tools.labelme import NO_TARGET
from storage.common.validation import Checked, NotNegative
from storage.pixels import rle

_OPENS = Opens(frozenset({"JPEG", "PNG", "BMP", "WEBP", "TIFF"}))
_VERSION = "5.5.0"
"""Of LabelMe, which warns where the first number is not its own; shapes of type `mask` came with 5.2."""


@dataclass(frozen=True)
class LabelmeOptions(Checked):
    """How masks are written.

    Attributes:
        masks: shapes of type `mask`, exact; or `polygon`, which can be edited by vertices, one for each component.
        tolerance: pixels by which polygons may leave out vertices; 0 follows every pixel.
    """

    masks: Literal["mask", "polygon"] = "mask"
    tolerance: NotNegative = 0.0


def write_labelme(items: Iterable[Item], folder: Path, options: LabelmeOptions) -> Counts:
    """LabelMe: a shape labeled with the instruction, `quality` and more as extra keys; an absent target is a flag.

    Loses: proposals, heatmap; of an absent target all but the instruction
    """
    counts, files = Counts(), ImageFolder(folder / "images", _OPENS)
    for item in items:
        image = files.add(item)
        path = (files.folder / image.name).with_suffix(".json")
        document = _empty(item, image.name) if image.fresh else json.loads(path.read_text(encoding="utf-8"))
        if item.absent:
            document["flags"][NO_TARGET + item.label.sample.instruction] = True
        else:
            document["shapes"] += _shapes(item, options, group=len(document["shapes"]))
        path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        counts.add(item)
    counts.images = len(files)
    return counts


def _empty(item: Item, name: str) -> dict[str, Any]:
    size = {"imageHeight": item.mask.height, "imageWidth": item.mask.width}
    return {"version": _VERSION, "flags": {}, "shapes": [], "imagePath": name, "imageData": None, **size}


def _shapes(item: Item, options: LabelmeOptions, group: int) -> list[dict[str, Any]]:
    facts = {key: value for key, value in item.facts().items() if key != "instruction"}
    shape = {"label": item.label.sample.instruction, "group_id": group, "description": "", "flags": {}, **facts}
    if options.masks == "polygon":
        outlines = polygons(item.mask, options.tolerance)
        return [shape | {"shape_type": "polygon", "points": points.tolist(), "mask": None} for points in outlines]
    box = rle.bbox(item.mask)
    assert box is not None
    x0, y0, x1, y1 = int(box.x0), int(box.y0), int(box.x1), int(box.y1)
    part = rle.encode(np.ascontiguousarray(rle.decode(item.mask)[y0:y1, x0:x1]))
    # LabelMe's second point is the last pixel, not the one behind it.
    points = [[float(x0), float(y0)], [float(x1 - 1), float(y1 - 1)]]
    encoded = base64.b64encode(mask_png(part)).decode("ascii")
    return [shape | {"shape_type": "mask", "points": points, "mask": encoded}]
