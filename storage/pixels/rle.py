"""Binary masks as COCO compressed run-length encoding, byte for byte as pycocotools writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rlemasklib import RLEMask

from storage.errors import InputError
from storage.records import Box, Rle

MAX_OUTLINE = 1_000_000
"""Pixels of a polygon's outline; some 50 MB while it is rasterised."""


def encode(mask_HW: np.ndarray) -> Rle:
    """Encode a mask; any non-zero pixel of a bool or integer array is foreground."""
    if mask_HW.ndim != 2:
        raise ValueError(f"a mask has the two axes H and W, got shape {mask_HW.shape}")
    return _wrap(RLEMask.from_array(np.ascontiguousarray(mask_HW, dtype=bool)))


def decode(rle: Rle) -> np.ndarray:
    """Decode to an (H, W) bool array in C order."""
    mask_HW: np.ndarray = _open(rle).to_array(order="C", dtype=np.bool_)
    return mask_HW


def decode_gray(rle: Rle) -> np.ndarray:
    """Decode to an (H, W) uint8 array in C order, 255 in the foreground."""
    gray_HW: np.ndarray = _open(rle).to_array(fg_value=255, order="C", dtype=np.uint8)
    return gray_HW


def area(rle: Rle) -> int:
    """Number of foreground pixels."""
    return int(_open(rle).area())


def bbox(rle: Rle) -> Box | None:
    """Smallest box around the foreground; None for an empty mask."""
    mask = _open(rle)
    if mask.area() == 0:
        return None
    x, y, width, height = (float(v) for v in mask.bbox())
    return Box(x, y, x + width, y + height)


def iou(a: Rle, b: Rle) -> float:
    """Intersection over union of two masks of one size; two empty masks agree wholly: 1."""
    if a.counts == b.counts and (a.height, a.width) == (b.height, b.width):
        return 1.0
    return float(_open(a).iou(_open(b)))


def union(rles: Sequence[Rle]) -> Rle:
    """Pixels that at least one of the masks, all of one size, covers."""
    if not rles:
        raise ValueError("the union of no masks has no size; give at least one")
    return _wrap(RLEMask.union([_open(rle) for rle in rles]))


def vote(masks: Sequence[Rle], weights: Sequence[float]) -> np.ndarray:
    """Soft heatmap sum(w m) / sum(w), (H, W) float32 in [0, 1]; all zero where the weights sum to 0.

    Where all masks agree the value is exactly 0 or 1.
    """
    if not masks or len(masks) != len(weights):
        raise ValueError(f"a vote needs one weight for each of at least one mask, got {len(masks)} and {len(weights)}")
    total = 0.0
    heatmap_HW = np.zeros((masks[0].height, masks[0].width))
    for mask, weight in zip(masks, weights, strict=True):
        heatmap_HW += _open(mask).to_array(fg_value=weight, dtype=np.float64, order="C")
        total += weight
    return (heatmap_HW / total if total else heatmap_HW).astype(np.float32)


def from_counts(size: Sequence[int], counts: str | bytes | Sequence[int]) -> Rle:
    """Read COCO's `{"size": [height, width], "counts": ...}`, compressed (str, bytes) or plain (run lengths).

    Raises:
        InputError: `bad_human_mask` where the runs do not cover the size exactly.
    """
    try:
        height, width = (int(v) for v in size)
        if height < 1 or width < 1:
            raise ValueError("height and width must be at least 1")
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        if isinstance(counts, bytes):
            return _wrap(RLEMask.from_dict({"size": [height, width], "counts": counts}))
        return _wrap(RLEMask.from_counts(np.asarray(counts, dtype=np.int64), [height, width]))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("bad_human_mask", f"run lengths do not describe a mask of size {size}: {error}") from error


def from_polygon(point_N2: np.ndarray, size: tuple[int, int]) -> Rle:
    """Rasterise one polygon of (x, y) pixels in an image of (height, width), pixel for pixel as pycocotools does.

    Raises:
        InputError: `bad_human_mask` for fewer than 3 points, a point far outside the image, or an outline of more
            than `MAX_OUTLINE` pixels: the library's memory grows with the outline, and it aborts the process.
    """
    point_N2 = np.asarray(point_N2, dtype=np.float64)
    height, width = size
    if point_N2.ndim != 2 or point_N2.shape[1] != 2 or len(point_N2) < 3:
        raise InputError("bad_human_mask", f"a polygon needs 3 points (x, y), got an array of {point_N2.shape}")
    if not ((point_N2 >= (-width, -height)) & (point_N2 <= (2 * width, 2 * height))).all():
        raise InputError("bad_human_mask", f"a polygon leaves an image of (height, width) = {size} by its own size")
    outline = float(np.abs(point_N2 - np.roll(point_N2, 1, axis=0)).max(axis=1).sum())
    if outline > MAX_OUTLINE:
        raise InputError("bad_human_mask", f"a polygon's outline has {outline:.0f} pixels, at most {MAX_OUTLINE}")
    return _wrap(RLEMask.from_polygon(point_N2, imshape=size))


def _open(rle: Rle) -> RLEMask:
    return RLEMask.from_dict({"size": [rle.height, rle.width], "counts": rle.counts})


def _wrap(mask: RLEMask) -> Rle:
    height, width = mask.shape
    return Rle(int(height), int(width), bytes(mask.to_dict()["counts"]))
