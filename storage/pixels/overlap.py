"""How far two boxes overlap, and from which overlap on a mask counts as right."""

from __future__ import annotations

from typing import Any

from storage.records import Box

RIGHT_IOU = 0.5
"""Least intersection over union with the truth of a mask, or box, that counts as right: PASCAL VOC's threshold
(Everingham et al., 2010, section 4.2)."""


def is_right(iou: Any) -> Any:
    """Whether an IoU, or each of an array, counts as right; NaN does not."""
    return iou >= RIGHT_IOU


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    inter = Box(max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)).area
    union = a.area + b.area - inter
    return inter / union if union else 0.0
