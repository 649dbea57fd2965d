"""LLaVA-style conversations about masked images: `conversations.json` beside `images/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ivm_data.exports.export_format import Counts, Item, json_list
from ivm_model import masking
from ivm_model.how import How
from storage.pixels import rle
from storage.pixels.images import decode


@dataclass(frozen=True)
class LlavaOptions:
    """What the LMM sees.

    Attributes:
        how: what becomes of the pixels that the instruction does not need, as in `ivm mask --how`.
    """

    how: How = "overlay"


def write_llava(items: Iterable[Item], folder: Path, options: LlavaOptions) -> Counts:
    """LLaVA: a conversation a label: the masked image and the instruction; where the target is absent the whole image.

    Loses: the mask itself, and the hidden pixels; there are no answers, as labels have none
    """
    counts = Counts()
    (folder / "images").mkdir()
    with json_list(folder / "conversations.json") as append:
        for item in items:
            facts = item.facts()
            key, instruction = facts.pop("sample_id"), facts.pop("instruction")
            turn = {"from": "human", "value": f"<image>\n{instruction}"}
            append({"id": key, "image": f"images/{key}.png", "conversations": [turn], **facts})
            _masked(item, options.how).save(folder / "images" / f"{key}.png")
            counts.add(item)
            counts.images += 1
    return counts


def _masked(item: Item, how: How) -> Image.Image:
    image_HWC = decode(item.label.sample.image)
    return Image.fromarray(masking.apply(image_HWC, rle.decode(item.mask).astype(np.float32), how).image_HWC)
