"""IVM-Mix-1M's layout: `meta.jsonl`, `images/`, `masks/mask_<uuid>.jpg`.

The paper's reader (github 2toinf/IVM, IVM_1M_Mix/datareader.py) multiplies a mask's gray values by 1.5, cuts them at
255, and stretches them to [0, 1]. It divides by zero where a mask is black.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ivm_data.exports.export_format import Counts, ImageFolder, Item
from storage.pixels import rle

SOFT_WHITE = 170
"""Gray value that the paper's reader makes 255 of; above it a soft mask would lose its differences."""


@dataclass(frozen=True)
class IvmMixOptions:
    """What the masks are.

    Attributes:
        soft: the vote of the proposals in gray, scaled for the paper's reader, instead of the mask in black and white.
            A human mask stays as it is.
    """

    soft: bool = False


def write_ivm_mix(items: Iterable[Item], folder: Path, options: IvmMixOptions) -> Counts:
    """IVM-Mix-1M: a row and a JPEG mask a label, as the paper's own reader reads them; absent targets are left out.

    Loses: absent targets, which that reader turns into NaN; a mask's last gray levels, to JPEG
    """
    counts, files = Counts(), ImageFolder(folder / "images")
    (folder / "masks").mkdir()
    with (folder / "meta.jsonl").open("w", encoding="utf-8") as lines:
        for item in items:
            if item.absent:
                counts.left_out += 1
                continue
            facts = item.facts()
            uuid, instruction = facts.pop("sample_id"), facts.pop("instruction")
            row = {"uuid": uuid, "instruction": [instruction], "image": files.add(item).name, **facts}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            Image.fromarray(_gray(item, options.soft)).save(folder / "masks" / f"mask_{uuid}.jpg", "JPEG", quality=95)
            counts.add(item)
    counts.images = len(files)
    return counts


def _gray(item: Item, soft: bool) -> np.ndarray:
    """The mask as (H, W) uint8 gray."""
    proposals = item.label.proposals
    if not soft or item.mask_by == "human" or not any(proposal.score for proposal in proposals):
        return rle.decode_gray(item.mask)
    heatmap_HW = rle.vote([proposal.mask for proposal in proposals], [proposal.score for proposal in proposals])
    gray_HW: np.ndarray = np.rint(heatmap_HW * SOFT_WHITE)
    return gray_HW.astype(np.uint8)
