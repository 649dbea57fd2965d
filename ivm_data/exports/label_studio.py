"""Label Studio: `tasks.json` to import, `config.xml` for the project, `images/` for local file serving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ivm_data.exports.export_format import BROWSERS, Counts, ImageFolder, Item, json_list
from ivm_data.sources.foreign.tools import brush
from storage.pixels import rle

LABEL = "needed"
_CONFIG = f"""<View>
  <Header value="$instruction"/>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image">
    <Label value="{LABEL}" background="#e6194b"/>
  </BrushLabels>
</View>
"""


@dataclass(frozen=True)
class LabelStudioOptions:
    """Where Label Studio finds the images, and what the masks are to it.

    Attributes:
        prefix: stands before `images/...`; that of local file serving, whose document root must be this folder.
        results: predictions, which a person accepts or corrects, or annotations.
    """

    prefix: str = "/data/local-files/?d="
    results: Literal["predictions", "annotations"] = "predictions"


def write_label_studio(items: Iterable[Item], folder: Path, options: LabelStudioOptions) -> Counts:
    """Label Studio: a task a label with the mask as brush strokes; an absent target is a result without strokes.

    Loses: proposals, heatmap
    """
    counts, files = Counts(), ImageFolder(folder / "images", BROWSERS)
    with json_list(folder / "tasks.json") as append:
        for item in items:
            data = {"image": f"{options.prefix}images/{files.add(item).name}", **item.facts()}
            data["recipe"] = item.label.lineage.recipe
            append({"data": data, options.results: [_result(item, options)]})
            counts.add(item)
    (folder / "config.xml").write_text(_CONFIG, encoding="utf-8")
    counts.images = len(files)
    return counts


def _result(item: Item, options: LabelStudioOptions) -> dict[str, Any]:
    result = [] if item.absent else [_stroke(item)]
    if options.results == "annotations":
        return {"result": result, "was_cancelled": False, "ground_truth": item.mask_by == "human"}
    score = item.facts()["quality"]
    return {"result": result, "model_version": item.label.lineage.recipe} | ({} if score is None else {"score": score})


def _stroke(item: Item) -> dict[str, Any]:
    strokes = brush.encode(rle.decode_gray(item.mask)).tolist()
    return {
        "id": item.label.sample.id[:10],
        "type": "brushlabels",
        "from_name": "mask",
        "to_name": "image",
        "origin": "manual",
        "image_rotation": 0,
        "original_width": item.mask.width,
        "original_height": item.mask.height,
        "value": {"format": "rle", "rle": strokes, "brushlabels": [LABEL]},
    }
