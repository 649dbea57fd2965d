"""What a training example is, and which labels become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from storage import rle, snapshots
from storage.errors import ConfigError
from storage.records import Rle, Status
from storage.snapshots import Snapshot

Origin = Literal["human", "machine"]


@dataclass(frozen=True)
class RowsConfig:
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
    statuses: tuple[Status, ...] = (Status.ACCEPTED, Status.NO_TARGET, Status.REVIEW)
    test_sources: tuple[str, ...] = ()
    test_share: float = 0.2
    max_rows: int = 0
    snapshot: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise ConfigError(f"'test_share' must lie in [0, 1), got {self.test_share}")
        if self.max_rows < 0 or self.max_rows == 1:
            raise ConfigError(f"'max_rows' must be at least 2, or 0 for all, got {self.max_rows}")
        if not self.statuses:
            raise ConfigError(f"'statuses' must name at least one of {', '.join(Status)}")

    def load_snapshot(self, data: Path) -> Snapshot | None:
        """The snapshot that is named; None for the data set as it is."""
        return snapshots.load(data, self.snapshot) if self.snapshot else None


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """One example, whole.

    Attributes:
        origin: whose mask it is.
        image: the encoded image file.
        image_sha: its content hash, `storage.rows.image_sha`; rows of one image share it.
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
