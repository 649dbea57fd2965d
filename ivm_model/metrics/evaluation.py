"""Any predictor against the held-out truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_model.data.dataset import TrainingRow, decode_image
from ivm_model.metrics.mask_scores import MaskScores, Overlap, overlap, score_by_group, score_masks
from storage import rle

Predict = Callable[[Sequence[np.ndarray], Sequence[str]], Sequence[np.ndarray]]
"""HWC uint8 RGB images and their instructions -> for each a bool mask, or a heatmap in [0, 1], of the image's size."""
BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """Scores over all rows, by kind of instruction and by difficulty; `iou_N` is in the rows' order."""

    overall: MaskScores
    by_kind: Mapping[str, MaskScores]
    by_difficulty: Mapping[str, MaskScores]
    iou_N: tuple[float, ...]


def evaluate(predict: Predict, rows: Sequence[TrainingRow], threshold: float = 0.5) -> Evaluation:
    """Score a predictor on rows with truth.

    Args:
        threshold: a pixel belongs to the mask where the heatmap reaches it.

    Raises:
        ValueError: no row, or a row without truth.
    """
    return score_heatmaps(_predictions(predict, rows), rows, threshold)


def score_heatmaps(heatmaps: Iterable[np.ndarray], rows: Sequence[TrainingRow], threshold: float = 0.5) -> Evaluation:
    """As `evaluate`, from answers in the rows' order."""
    overlaps = []
    for row, heatmap_HW in zip(rows, heatmaps, strict=True):
        mask_HW = heatmap_HW if heatmap_HW.dtype == bool else heatmap_HW >= threshold
        overlaps.append(overlap(mask_HW, _truth(row)))
    return _evaluation(overlaps, rows)


def evaluate_labels(rows: Sequence[TrainingRow]) -> Evaluation:
    """Score the rows' own masks: what the labeling engine itself reaches on the same rows."""
    return _evaluation([overlap(rle.decode(row.mask), _truth(row)) for row in rows], rows)


def _predictions(predict: Predict, rows: Sequence[TrainingRow]) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield from predict([decode_image(row) for row in batch], [row.instruction for row in batch])


def _evaluation(overlaps: Sequence[Overlap], rows: Sequence[TrainingRow]) -> Evaluation:
    return Evaluation(
        overall=score_masks(overlaps),
        by_kind=score_by_group(overlaps, [row.kind or "any" for row in rows]),
        by_difficulty=score_by_group(overlaps, [row.difficulty or "any" for row in rows]),
        iou_N=tuple(each.iou for each in overlaps),
    )


def _truth(row: TrainingRow) -> np.ndarray:
    if row.truth is None:
        raise ValueError(f"row {row.sample_id} has no held-out truth; score only rows that have one")
    return rle.decode(row.truth)
