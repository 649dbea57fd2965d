"""Labels worth a look, each as three thumbnails: image, heatmap, kept pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from ivm_model.masking import keep_only
from storage.catalog import Catalog
from storage.common.sql_files import fill, load
from storage.pixels import rle
from storage.pixels.images import decode
from storage.pixels.overlap import RIGHT_IOU
from storage.records import Rle

SIDE = 256
"""Pixels of a thumbnail's longer side."""

LABELS_AN_IMAGE = 32
"""Labels that are looked at for each image to show, at first."""
MORE = 64
"""Times as many as before, where those showed too few images."""

HUMAN = (22, 163, 74)
"""RGB of the outline of the human mask."""


@dataclass(frozen=True)
class Section:
    """A section of the gallery: which labels, and in which order (SQL over the `labels` view)."""

    title: str
    note: str
    where: str
    order: str


SECTIONS = (
    Section("Best", "accepted, highest quality first", "status = 'accepted'", "quality DESC"),
    Section(
        "Wrongly accepted",
        f"accepted although the human mask says otherwise (IoU below {RIGHT_IOU})",
        f"status = 'accepted' AND human_iou < {RIGHT_IOU}",
        "quality DESC",
    ),
    Section("Most disputed", "the experts' masks overlap least", "len(pairs) > 0", "agreement"),
    Section("Worst", "kept out by the gate, lowest quality first", "status = 'rejected'", "quality"),
)


@dataclass(frozen=True)
class Thumbnail:
    """One label to show: its light row, and its image, heatmap and kept pixels, HWC uint8 RGB."""

    label: dict[str, Any]
    images: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def panels(self) -> tuple[str, ...]:
        """The images as data URIs."""
        return tuple(map(data_uri, self.images))


def thumbnails(
    catalog: Catalog, recipe: str, sections: Sequence[Section], limit: int, **values: Any
) -> list[list[Thumbnail]]:
    """For each section its first labels, one for each image.

    Args:
        **values: of the `$name` in the sections' conditions.
    """
    picked = [_picked(catalog, recipe, one, limit, values) for one in sections]
    # Drawn in one go: looking for a few pictures means a pass over the names of all.
    shown = iter(drawn(catalog, recipe, pa.concat_tables(picked)))
    return [[one for one in islice(shown, len(rows)) if one] for rows in picked]


def _picked(catalog: Catalog, recipe: str, section: Section, limit: int, values: Mapping[str, Any]) -> pa.Table:
    """Part and position of a section's labels; images are compared among the first labels alone, if those will do."""
    sql = fill(load("ivm_data.report", "sql")["gallery"], {"where": section.where, "order": section.order})
    among = max(LABELS_AN_IMAGE * limit, 1)
    while True:
        rows = catalog.sql(sql, recipe=recipe, limit=limit, among=among, **values)
        if len(rows) == limit or not len(rows) or rows["looked_at"][0].as_py() < among:
            return rows
        among *= MORE


def drawn(catalog: Catalog, recipe: str, picked: pa.Table) -> list[Thumbnail | None]:
    """Each label of some rows with columns part and position; None where its pixels are not there."""
    keys = list(zip(picked["part"].to_pylist(), picked["position"].to_pylist(), strict=True))
    if not keys:
        return []
    sql = load("ivm_data.report", "sql")["shown"]
    parts, positions = zip(*sorted(set(keys)), strict=True)
    rows = catalog.sql(sql, recipe=recipe, parts=list(parts), positions=list(positions)).to_pylist()
    shown = {(row["part"], row["position"]): Thumbnail(row, _images(row)) for row in rows}
    return [shown.get(key) for key in keys]


def data_uri(image_HWC: np.ndarray) -> str:
    """An RGB image as a JPEG that lies in its own address."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _images(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image_HWC = shrunk(decode(row["image"]))
    size = image_HWC.shape[:2]
    mask_HW = shrunk(_mask(row, row["mask"]).astype(np.float32), size)
    kept_HWC = keep_only(image_HWC, mask_HW, dim=0.88)
    if row["human_mask"] is not None:
        _outline(kept_HWC, shrunk(_mask(row, row["human_mask"]).astype(np.float32), size))
    return image_HWC, _heat(image_HWC, _heatmap(row, size)), kept_HWC


def _heatmap(row: dict[str, Any], size: tuple[int, ...]) -> np.ndarray:
    if not row["proposals"]:
        return np.zeros(size, np.float32)
    masks = [Rle(row["height"], row["width"], counts) for counts in row["proposal_masks"]]
    return shrunk(rle.vote(masks, [proposal["score"] for proposal in row["proposals"]]), size)


def _heat(image_HWC: np.ndarray, heatmap_HW: np.ndarray) -> np.ndarray:
    """The heatmap in the colours of inferno over a darkened gray image."""
    gray_HW = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY) // 2
    colour_HWC = cv2.applyColorMap((heatmap_HW * 220).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha_HW = 0.85 * np.clip(heatmap_HW, 0, 1)
    return cv2.blendLinear(
        np.ascontiguousarray(colour_HWC), cv2.cvtColor(gray_HW, cv2.COLOR_GRAY2RGB), alpha_HW, 1 - alpha_HW
    )


def _outline(image_HWC: np.ndarray, mask_HW: np.ndarray) -> None:
    contours, _ = cv2.findContours((mask_HW >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image_HWC, contours, -1, HUMAN, max(1, round(max(mask_HW.shape) / 128)), cv2.LINE_AA)


def shrunk(array: np.ndarray, size: Sequence[int] | None = None) -> np.ndarray:
    """An image or a float mask of at most `SIDE` pixels, or of a size (height, width)."""
    scale = min(1.0, SIDE / max(array.shape[:2]))
    height, width = size or (max(1, round(array.shape[0] * scale)), max(1, round(array.shape[1] * scale)))
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)


def _mask(row: dict[str, Any], counts: bytes) -> np.ndarray:
    return rle.decode(Rle(row["height"], row["width"], counts))
