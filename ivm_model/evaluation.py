"""Any predictor against the held-out truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_model.dataset import Row, decode_image
from ivm_model.metrics import MaskScores, Overlap, overlap, score_by_group, score_masks
from storage import rle

Predict = Callable[[Sequence[np.ndarray], Sequence[str]], Sequence[np.ndarray]]
"""HWC uint8 RGB images and their instructions -> for each a bool mask, or a heatmap in [0, 1], of the image's size."""
BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """Scores over all rows and for each kind of instruction; `iou_N` in the rows' order, for paired comparisons."""

    overall: MaskScores
    by_kind: Mapping[str, MaskScores]
    iou_N: tuple[float, ...]


def evaluate(predict: Predict, rows: Sequence[Row], threshold: float = 0.5) -> Evaluation:
    """Score a predictor on rows with truth.

    Args:
        threshold: a pixel belongs to the mask where the heatmap reaches it.

    Raises:
        ValueError: no row, or a row without truth.
    """
    overlaps: list[Overlap] = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        heatmaps = predict([decode_image(row) for row in batch], [row.instruction for row in batch])
        for row, heatmap_HW in zip(batch, heatmaps, strict=True):
            mask_HW = heatmap_HW if heatmap_HW.dtype == bool else heatmap_HW >= threshold
            overlaps.append(overlap(mask_HW, _truth(row)))
    return _evaluation(overlaps, rows)


def evaluate_labels(rows: Sequence[Row]) -> Evaluation:
    """Score the rows' own masks: what the labeling engine itself reaches on the same rows."""
    return _evaluation([overlap(rle.decode(row.mask), _truth(row)) for row in rows], rows)


def _evaluation(overlaps: Sequence[Overlap], rows: Sequence[Row]) -> Evaluation:
    return Evaluation(
        overall=score_masks(overlaps),
        by_kind=score_by_group(overlaps, [row.kind or "any" for row in rows]),
        iou_N=tuple(each.iou for each in overlaps),
    )


def _truth(row: Row) -> np.ndarray:
    if row.truth is None:
        raise ValueError(f"row {row.sample_id} has no held-out truth; score only rows that have one")
    return rle.decode(row.truth)
