"""One pair's whole story as a picture: its boxes, heatmap and kept pixels, then what each expert proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ivm_data.outputs import STORY
from ivm_data.report.contact_sheet import draw
from ivm_data.report.gallery import Section, Thumbnail, shrunk, thumbnails
from ivm_model.masking import keep_only
from storage.catalog import Catalog
from storage.disk.publish import whole_file
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Rle

SIDE = 256
"""Pixels of a panel's side."""
PANELS = 3
"""Panels beside each other under one caption."""

CHOSEN, OTHER, ANCHOR = (22, 163, 74), (140, 140, 140), (37, 99, 235)
"""RGB of boxes: of targets that were chosen, of targets that were not, and of anchors."""


def picture(catalog: Catalog, told: dict[str, Any]) -> np.ndarray:
    """The panels of a label, HWC uint8 RGB; the human mask is outlined where there is one.

    Args:
        told: what `ivm_data.report.story.story` tells.

    Raises:
        ConfigError: the pair ended without a label, so that its image was not kept.
    """
    where = f"sample_id = '{told['sample_id']}'"
    (shown,) = thumbnails(catalog, told["recipe"]["hash"], [Section("", "", where, "sample_id")], 1)
    if not shown:
        raise ConfigError(
            f"pair {told['sample_id']} ended without a label, and no image of it was kept; it is '{told['image_uri']}'"
        )
    (label,) = shown
    whole_HWC = decode(label.label["image"])
    first = Thumbnail(label.label, (_boxes(whole_HWC, told["candidates"]), *label.images[1:]))
    proposals = list(zip(told["proposals"], label.label["proposal_masks"], strict=True))
    groups = [proposals[i : i + PANELS] for i in range(0, len(proposals), PANELS)]
    return draw([first, *(_proposed(whole_HWC, label.label, group) for group in groups)], SIDE)


def save(picture_HWC: np.ndarray, out: Path, made_by: str = STORY) -> None:
    """Write a PNG file that says which command made it."""
    facts = PngInfo()
    facts.add_text("Software", made_by)
    with whole_file(out) as hidden:
        Image.fromarray(picture_HWC).save(hidden, "PNG", pnginfo=facts)


def _boxes(image_HWC: np.ndarray, candidates: list[dict[str, Any]]) -> np.ndarray:
    """The image with every candidate's box, those that were chosen last."""
    drawn_HWC = shrunk(image_HWC)
    scale = drawn_HWC.shape[1] / image_HWC.shape[1]
    for candidate in sorted(candidates, key=lambda one: bool(one["chosen"])):
        colour = ANCHOR if candidate["role"] == "anchor" else CHOSEN if candidate["chosen"] else OTHER
        x0, y0, x1, y1 = (round(scale * candidate["box"][side]) for side in ("x0", "y0", "x1", "y1"))
        cv2.rectangle(drawn_HWC, (x0, y0), (x1, y1), colour, 2 if candidate["chosen"] else 1)
    return drawn_HWC


def _proposed(image_HWC: np.ndarray, row: dict[str, Any], group: list[tuple[dict[str, Any], bytes]]) -> Thumbnail:
    """What some proposals keep of the image, under their experts' names and scores."""
    small_HWC = shrunk(image_HWC)
    kept = []
    for _, counts in group:
        mask_HW = rle.decode(Rle(row["height"], row["width"], counts)).astype(np.float32)
        kept.append(keep_only(small_HWC, shrunk(mask_HW, small_HWC.shape[:2]), dim=0.88))
    kept += [np.full_like(small_HWC, 255)] * (PANELS - len(kept))
    names = ", ".join(f"{proposal['expert'].partition('@')[0]} {proposal['score']:.2f}" for proposal, _ in group)
    return Thumbnail({"status": "proposed", "instruction": names}, (kept[0], kept[1], kept[2]))
