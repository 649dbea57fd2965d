"""What a training example is, and which labels become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from storage.common.validation import FILLED, Checked, Natural, within
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Rle, Status

Origin = Literal["human", "machine"]


@dataclass(frozen=True)
class RowsConfig(Checked):
    """Which labels train and which score.

    Attributes:
        recipe: whose labels; "" where the folder holds only one recipe's.
        statuses: statuses whose machine labels train.
        test_sources: sources whose rows with held-out truth only score.
        test_share: share of the other images with held-out truth that only score, see `assignment.position`.
        max_rows: most rows to train on, human ones first, an even choice of each; 0 for all. The report says what was
            left out.
        snapshot: name of a snapshot; then the rows are those of its labels, reviews and decisions. "" for the current
            ones.
    """

    recipe: str = ""
    statuses: Annotated[tuple[Status, ...], FILLED] = (Status.ACCEPTED, Status.NO_TARGET, Status.REVIEW)
    test_sources: tuple[str, ...] = ()
    test_share: Annotated[float, within("[0, 1)")] = 0.2
    max_rows: Natural = 0
    snapshot: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows == 1:
            raise ConfigError("'max_rows' must be at least 2, or 0 for all, got 1")


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """One example, whole.

    Attributes:
        origin: whose mask it is.
        image: the encoded image file.
        image_sha: its content hash, `storage.parts.rows.image_sha`; rows of one image share it.
        mask: what it trains or, on the test split, the engine's own label.
        truth: held-out mask that scores it; None where unknown.
        machine_mask: of a human row, the engine's label for the same image and instruction; for audits only.
    """

    sample_id: str
    recipe: str
    origin: Origin
    source: str
    kind: str
    difficulty: str
    instruction: str
    image: bytes
    image_sha: str
    mask: Rle
    truth: Rle | None = None
    machine_mask: Rle | None = None


def truth_iou(rows: Iterable[TrainingRow]) -> np.ndarray:
    """IoU of each row's mask with its truth, iou_N float32; NaN where the truth is unknown."""
    return np.array([float("nan") if r.truth is None else rle.iou(r.mask, r.truth) for r in rows], np.float32)
