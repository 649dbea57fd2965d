"""Any predictor against the held-out truth, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ivm_model.data.training_rows import TrainingRow
from ivm_model.metrics.mask_scores import MaskScores, Overlap, overlap, score_by_group, score_masks
from storage.pixels import rle
from storage.pixels.images import decode

Predict = Callable[[Sequence[np.ndarray], Sequence[str]], Sequence[np.ndarray]]
"""HWC uint8 RGB images and their instructions -> for each a bool mask, or a heatmap in [0, 1], of the image's size."""
BATCH = 16
THRESHOLD = 0.5
"""A pixel belongs to the mask where a heatmap reaches it."""


@dataclass(frozen=True)
class Evaluation:
    """Scores over all rows, by kind of instruction and by difficulty; `iou_N` is in the rows' order."""

    overall: MaskScores
    by_kind: Mapping[str, MaskScores]
    by_difficulty: Mapping[str, MaskScores]
    iou_N: tuple[float, ...]


@dataclass
class _Tally:
    """Overlaps of rows so far, with the groups of each row."""

    overlaps: list[Overlap] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    difficulties: list[str] = field(default_factory=list)

    def add(self, row: TrainingRow, answer_HW: np.ndarray) -> None:
        """Take one answer, a bool mask or a heatmap."""
        if row.truth is None:
            raise ValueError(f"row {row.sample_id} has no held-out truth; score only rows that have one")
        mask_HW = answer_HW if answer_HW.dtype == bool else answer_HW >= THRESHOLD
        self.overlaps.append(overlap(mask_HW, rle.decode(row.truth)))
        self.kinds.append(row.kind or "any")
        self.difficulties.append(row.difficulty or "any")

    def evaluation(self) -> Evaluation:
        return Evaluation(
            overall=score_masks(self.overlaps),
            by_kind=score_by_group(self.overlaps, self.kinds),
            by_difficulty=score_by_group(self.overlaps, self.difficulties),
            iou_N=tuple(each.iou for each in self.overlaps),
        )


def score_answers(answers: Iterable[tuple[TrainingRow, np.ndarray]]) -> Evaluation:
    """Score rows with truth, each with its answer: a bool mask or a heatmap of the image's size.

    Raises:
        ValueError: no row, or a row without truth.
    """
    tally = _Tally()
    for row, answer_HW in answers:
        tally.add(row, answer_HW)
    return tally.evaluation()


def evaluate(predict: Predict, rows: Iterable[TrainingRow]) -> Evaluation:
    """Score a predictor; errors as of `score_answers`."""
    return score_answers(_answered(predict, rows))


def evaluate_labels(rows: Iterable[TrainingRow]) -> Evaluation:
    """Score the rows' own masks: what the labeling engine itself reaches on the same rows."""
    return score_answers((row, rle.decode(row.mask)) for row in rows)


def evaluate_against_labels(
    predict: Predict, rows: Iterable[TrainingRow]
) -> tuple[Evaluation, Evaluation] | tuple[None, None]:
    """`evaluate` and `evaluate_labels` in one pass over the rows; None where there are no rows."""
    ours, labels = _Tally(), _Tally()
    for row, answer_HW in _answered(predict, rows):
        ours.add(row, answer_HW)
        labels.add(row, rle.decode(row.mask))
    return (ours.evaluation(), labels.evaluation()) if ours.overlaps else (None, None)


def _answered(predict: Predict, rows: Iterable[TrainingRow]) -> Iterator[tuple[TrainingRow, np.ndarray]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        answers = predict([decode(row.image) for row in batch], [row.instruction for row in batch])
        yield from zip(batch, answers, strict=True)
