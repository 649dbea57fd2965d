"""A dozen labels as one picture: input | heatmap | masked, with the instruction and the gate's decision above."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ivm_data.images import decode
from ivm_model.masking import keep_only
from storage import rle
from storage.catalog import Catalog
from storage.reader import read_labels
from storage.records import Label

SIDE = 128
"""Pixels of a thumbnail's side."""
COLUMNS = 2
_CAPTION = 18
_CHOOSE = """
    SELECT sample_id FROM labels WHERE recipe = $recipe
    QUALIFY row_number() OVER (PARTITION BY status ORDER BY md5(sample_id)) <= $each
    ORDER BY status, md5(sample_id)
"""


def choose(data: Path, recipe: str, each: int = 3) -> list[Label]:
    """Up to `each` labels of every status, at random but always the same."""
    with Catalog(data) as catalog:
        ids = catalog.sql(_CHOOSE, recipe=recipe, each=each)["sample_id"].to_pylist()
    labels = read_labels(data, ids, recipe)
    return [labels[sample] for sample in ids]


def draw(labels: Sequence[Label]) -> np.ndarray:
    """All labels on white, `COLUMNS` beside each other; HWC uint8 RGB."""
    cells = [_cell(label) for label in labels]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[i : i + COLUMNS], axis=1) for i in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows, axis=0)


def data_uri(image_HWC: np.ndarray) -> str:
    """An RGB image as a PNG that lies in its own address."""
    png = cv2.imencode(".png", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))[1]
    return f"data:image/png;base64,{base64.b64encode(png.tobytes()).decode('ascii')}"


def _cell(label: Label) -> np.ndarray:
    image_HWC = decode(label.sample.image)
    heatmap_HW = _heatmap(label)
    panels = (image_HWC, _coloured(heatmap_HW), keep_only(image_HWC, rle.decode(label.mask)))
    return np.concatenate([_caption(label, 3 * SIDE), _side_by_side(map(_thumbnail, panels))], axis=0)


def _heatmap(label: Label) -> np.ndarray:
    if not label.proposals:
        return np.zeros((label.mask.height, label.mask.width), np.float32)
    return rle.vote([p.mask for p in label.proposals], [p.score for p in label.proposals])


def _coloured(heatmap_HW: np.ndarray) -> np.ndarray:
    bgr_HWC = cv2.applyColorMap((heatmap_HW * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB)


def _thumbnail(image_HWC: np.ndarray) -> np.ndarray:
    """The whole image, centred in a white square."""
    H, W = image_HWC.shape[:2]
    scale = (SIDE - 4) / max(H, W)
    small_HWC = cv2.resize(
        image_HWC, (max(1, round(W * scale)), max(1, round(H * scale))), interpolation=cv2.INTER_AREA
    )
    square_HWC = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top, left = (SIDE - small_HWC.shape[0]) // 2, (SIDE - small_HWC.shape[1]) // 2
    square_HWC[top : top + small_HWC.shape[0], left : left + small_HWC.shape[1]] = small_HWC
    return square_HWC


def _side_by_side(images: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(images), axis=1)


def _caption(label: Label, width: int) -> np.ndarray:
    # Hershey fonts draw ASCII only; anything else becomes "?".
    words = f"{label.status}: {label.sample.instruction}".encode("ascii", "replace").decode("ascii")
    strip_HWC = np.full((_CAPTION, width, 3), 255, np.uint8)
    cv2.putText(strip_HWC, words, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (40, 40, 40), 1, cv2.LINE_AA)
    return strip_HWC
