"""A few labels of every status as one picture: input | heatmap | kept pixels, below decision and instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from ivm_data.report.gallery import Section, Thumbnail, drawn, thumbnails
from storage.catalog import Catalog
from storage.common.sql_files import load
from storage.records import Status

SIDE = 160
"""Pixels of a panel's side."""
CAPTION = 20
"""Pixels of a caption's height."""
COLUMNS = 2
"""Labels beside each other."""


def contact_sheet(catalog: Catalog, recipe: str, each: int = 3) -> np.ndarray | None:
    """Up to `each` labels of every status, chosen at random but always the same; HWC uint8 RGB, None without labels."""
    picked = catalog.sql(
        load("ivm_data.report", "sql")["contact_sheet"], recipe=recipe, each=each, statuses=[*map(str, Status)]
    )
    shown = [thumbnail for thumbnail in drawn(catalog, recipe, picked) if thumbnail]
    return draw(shown) if shown else None


def changes_sheet(catalog: Catalog, recipe: str, changed: Mapping[str, str]) -> np.ndarray | None:
    """Labels that change their status, one for each image; HWC uint8 RGB, None without any.

    Args:
        changed: sample id -> "accepted -> review".
    """
    section = Section("", "", "list_contains($ids, sample_id)", "image_uri")
    (shown,) = thumbnails(catalog, recipe, [section], len(changed), ids=list(changed))
    told = [replace(one, label=one.label | {"status": changed[one.label["sample_id"]]}) for one in shown]
    return draw(told) if told else None


def draw(shown: Sequence[Thumbnail], side: int = SIDE) -> np.ndarray:
    """At least one thumbnail, each with its panels in a row, `COLUMNS` beside each other on white; HWC uint8 RGB.

    Args:
        side: of a panel, pixels.
    """
    cells = [_cell(thumbnail, side) for thumbnail in shown]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[i : i + COLUMNS], axis=1) for i in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows, axis=0)


def _cell(thumbnail: Thumbnail, side: int) -> np.ndarray:
    panels_HWC = np.concatenate([_square(image_HWC, side) for image_HWC in thumbnail.images], axis=1)
    return np.concatenate([_caption(thumbnail, panels_HWC.shape[1]), panels_HWC], axis=0)


def _square(image_HWC: np.ndarray, side: int) -> np.ndarray:
    """The whole image, centred on a white square with a narrow border."""
    scale = (side - 4) / max(image_HWC.shape[:2])
    h, w = (max(1, round(length * scale)) for length in image_HWC.shape[:2])
    square_HWC = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - h) // 2, (side - w) // 2
    square_HWC[top : top + h, left : left + w] = cv2.resize(image_HWC, (w, h), interpolation=cv2.INTER_AREA)
    return square_HWC


def _caption(thumbnail: Thumbnail, width: int) -> np.ndarray:
    # OpenCV's fonts know ASCII only; anything else becomes "?".
    words = f"{thumbnail.label['status']}: {thumbnail.label['instruction']}".encode("ascii", "replace").decode()
    strip_HWC = np.full((CAPTION, width, 3), 255, np.uint8)
    cv2.putText(strip_HWC, words, (4, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return strip_HWC
