"""Episodes as strips: some of a recording's labels beside each other in time, key frames in a frame of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np

from ivm_data.report.gallery import Thumbnail, drawn
from storage.catalog import Catalog
from storage.common.sql_files import load

SIDE = 112
"""Pixels of a panel's side."""
CAPTION = 20
"""Pixels of a caption's height."""
FRAMES = 11
"""Labels of a strip."""
KEY, TRACKED = (37, 99, 235), (217, 212, 204)
"""RGB of what is drawn around a label that experts looked at, and around one that was carried."""
_BORDER = 3


def strips(catalog: Catalog, recipe: str, each: int = 4, frames: int = FRAMES) -> np.ndarray | None:
    """Up to `each` recordings below each other, chosen at random but always the same, each as up to `frames` labels.

    Returns:
        HWC uint8 RGB; None where no label is of an episode.
    """
    asked = "SELECT 1 FROM labels WHERE recipe = $recipe AND episode IS NOT NULL LIMIT 1"
    if not catalog.sql(asked, recipe=recipe).num_rows:
        return None
    picked = catalog.sql(load("ivm_data.report", "sql")["strips"], recipe=recipe, each=each, frames=frames)
    shown = zip(picked["place"].to_pylist(), drawn(catalog, recipe, picked), strict=True)
    rows = [[one for _, one in of_one if one] for _, of_one in groupby(shown, key=lambda pair: pair[0])]
    return draw([row for row in rows if row]) if any(rows) else None


def draw(rows: Sequence[Sequence[Thumbnail]], side: int = SIDE) -> np.ndarray:
    """At least one strip of at least one label each, below each other on white; HWC uint8 RGB.

    Args:
        side: of a panel, pixels.
    """
    width = max(map(len, rows)) * side
    return np.concatenate([part for row in rows for part in (_title(row[0], width), _strip(row, side, width))])


def _strip(row: Sequence[Thumbnail], side: int, width: int) -> np.ndarray:
    strip_HWC = np.full((side + CAPTION, width, 3), 255, np.uint8)
    for number, thumbnail in enumerate(row):
        left = number * side
        strip_HWC[:side, left : left + side] = _panel(thumbnail, side)
        label = thumbnail.label
        _write(strip_HWC[side:, left : left + side], f"{label['frame']} {label['status'].replace('_', ' ')}", 0.33)
    return strip_HWC


def _panel(thumbnail: Thumbnail, side: int) -> np.ndarray:
    """What is kept of the image, whole, in the middle of a square with a border."""
    kept_HWC = thumbnail.images[2]
    panel_HWC = np.full((side, side, 3), KEY if thumbnail.label["tracked_from"] is None else TRACKED, np.uint8)
    inner = side - 2 * _BORDER
    panel_HWC[_BORDER:-_BORDER, _BORDER:-_BORDER] = 255
    scale = inner / max(kept_HWC.shape[:2])
    height, width = (max(1, round(length * scale)) for length in kept_HWC.shape[:2])
    top, left = (side - height) // 2, (side - width) // 2
    panel_HWC[top : top + height, left : left + width] = cv2.resize(
        kept_HWC, (width, height), interpolation=cv2.INTER_AREA
    )
    return panel_HWC


def _title(thumbnail: Thumbnail, width: int) -> np.ndarray:
    label = thumbnail.label
    title_HWC = np.full((CAPTION, width, 3), 255, np.uint8)
    _write(title_HWC, f"{' '.join(filter(None, (label['episode'], label['camera'])))}: {label['instruction']}", 0.4)
    return title_HWC


def _write(strip_HWC: np.ndarray, words: str, size: float) -> None:
    # OpenCV's fonts know ASCII only; anything else becomes "?".
    text = words.encode("ascii", "replace").decode()
    at = (4, CAPTION - 6)
    cv2.putText(strip_HWC, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 40), 1, cv2.LINE_AA)
