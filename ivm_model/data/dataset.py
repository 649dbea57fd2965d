"""Labeled shards -> rows to train on and rows to score on."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from ivm_model.data.assignment import Split, assign
from storage import rle, snapshots
from storage.decisions import excluded
from storage.errors import ConfigError
from storage.reader import iter_labels, only_recipe
from storage.records import Label, Rle, Scope, Status
from storage.reviews import Adjudication, adjudications
from storage.snapshots import Snapshot

Origin = Literal["human", "machine"]


@dataclass(frozen=True)
class DataConfig:
    """Which labels train and which score.

    Attributes:
        recipe: whose labels; "" where the folder holds only one recipe's.
        statuses: statuses whose machine labels train.
        test_sources: sources whose rows with held-out truth only score.
        test_share: share of the other images with held-out truth that only score; chosen by the image's hash, so that
            no image is on both sides.
        max_rows: most rows to train on, an even choice; each costs about 0.1 MB beside its encoded image.
        snapshot: name of a snapshot; then the rows are those of its labels, reviews and decisions. "" for those of now.
    """

    recipe: str = ""
    statuses: tuple[Status, ...] = (Status.ACCEPTED, Status.NO_TARGET, Status.REVIEW)
    test_sources: tuple[str, ...] = ()
    test_share: float = 0.2
    max_rows: int = 20_000
    snapshot: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise ConfigError(f"'test_share' must lie in [0, 1), got {self.test_share}")
        if self.max_rows < 2:
            raise ConfigError(f"'max_rows' must be at least 2, got {self.max_rows}")
        if not self.statuses:
            raise ConfigError(f"'statuses' must name at least one of {', '.join(Status)}")

    def moment(self, data: Path) -> Snapshot | None:
        """The snapshot that is named; None for the data set as it is."""
        return snapshots.load(data, self.snapshot) if self.snapshot else None


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """One example.

    Attributes:
        origin: whose mask it is.
        image: the encoded image file.
        mask: what it trains or, on the test side, the engine's own label.
        truth: held-out mask that scores it; None where unknown.
        machine_mask: of a human row, the engine's label for the same image and instruction; for audits only.
        verification: the engine's two-sided verification; of a label without target, how sure it was of the absence.
        quality: the engine's calibrated quality.
        accepted: the gate accepted the engine's label, or its statement that there is no target.
    """

    sample_id: str
    recipe: str
    origin: Origin
    source: str
    kind: str
    difficulty: str
    instruction: str
    image: bytes
    mask: Rle
    truth: Rle | None = None
    machine_mask: Rle | None = None
    verification: float = float("nan")
    quality: float = float("nan")
    accepted: bool = False

    @property
    def image_key(self) -> str:
        """Hash of the image file: rows of one image share it."""
        return hashlib.blake2b(self.image, digest_size=8).hexdigest()


@dataclass(frozen=True)
class TrainingRows:
    """Everything a training reads: `human`, `machine` and `test` rows, and the content hash of the first two."""

    human: tuple[TrainingRow, ...]
    machine: tuple[TrainingRow, ...]
    test: tuple[TrainingRow, ...] = field(default=())

    @property
    def train(self) -> tuple[TrainingRow, ...]:
        """Human rows, then machine rows."""
        return self.human + self.machine

    @property
    def content_hash(self) -> str:
        """16 hex digits over ids, origins and masks of the training rows."""
        digest = hashlib.blake2b(digest_size=8)
        for row in self.train:
            head = f"{row.sample_id} {row.origin} {row.mask.height}x{row.mask.width} "
            digest.update(head.encode() + row.mask.counts)
        return digest.hexdigest()


def load_rows(data: Path, config: DataConfig) -> TrainingRows:
    """Read a data folder.

    A label with a human mask becomes a human row, unless the mask is held out; then it is a machine row whose truth
    only scores. Rows are in the order of their sample ids, whatever the order of the shards. What cleaning excludes
    does not train; it still scores. What a person reviewed trains as a human row, with the engine's mask or the
    corrected one; what was found wrong does not train. Reviews change nothing on the test side.

    Raises:
        ConfigError: no row to train on, no such snapshot, or several recipes' labels and none is chosen.
        ShardError: a file is torn or incomplete, or lacks what the snapshot lists.
    """
    frozen = config.moment(data)
    recipe = only_recipe(data, config.recipe or None, frozen)
    labels = iter_labels(data, recipe=recipe, snapshot=frozen)
    return split_rows(labels, config, excluded(data, recipe, frozen), adjudications(data, recipe, frozen))


def split_rows(
    labels: Iterable[Label],
    config: DataConfig,
    kept_out: Mapping[str, Scope] | None = None,
    reviewed: Mapping[str, Adjudication] | None = None,
) -> TrainingRows:
    """As `load_rows`, from labels in memory; `kept_out` is `decisions.excluded`, `reviewed` is `adjudications`."""
    rows: dict[str, list[TrainingRow]] = {"human": [], "machine": [], "test": []}
    seen: Counter[str] = Counter()
    for label in labels:
        seen[label.status] += 1
        side, ruling = _side(label, config), (reviewed or {}).get(label.sample.id)
        admitted = assign(side, (kept_out or {}).get(label.sample.id), ruling)
        if admitted:
            rows[admitted].append(_row(_reviewed(label, ruling) if ruling and admitted != side else label))
    if not rows["human"] and not rows["machine"]:
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(seen.items())) or "no labels at all"
        raise ConfigError(f"nothing to train on: found {statuses}; 'statuses' admits {', '.join(config.statuses)}")
    human, machine, test = (sorted(rows[side], key=lambda row: row.sample_id) for side in rows)
    machine = _thin(machine, config.max_rows - len(human[: config.max_rows]))
    return TrainingRows(tuple(_thin(human, config.max_rows)), tuple(machine), tuple(test))


def split_test(labels: Iterable[Label], config: DataConfig) -> tuple[TrainingRow, ...]:
    """Only the rows that `split_rows` puts on the test side, in its order."""
    return tuple(sorted((_row(label) for label in labels if _side(label, config) == "test"), key=lambda r: r.sample_id))


def decode_image(row: TrainingRow) -> np.ndarray:
    """HWC uint8 RGB, turned as its EXIF says."""
    with Image.open(io.BytesIO(row.image)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _side(label: Label, config: DataConfig) -> Split:
    sample = label.sample
    if sample.human_mask is not None and not sample.held_out:
        return "human"
    if sample.human_mask is not None and (sample.source in config.test_sources or _in_share(label, config.test_share)):
        return "test"
    return "machine" if label.status in config.statuses else ""


def _reviewed(label: Label, ruling: Adjudication) -> Label:
    """The label with what people confirmed or corrected as its human mask."""
    sample = replace(label.sample, human_mask=ruling.mask or label.mask, held_out=False)
    return replace(label, sample=sample)


def _in_share(label: Label, share: float) -> bool:
    digest = hashlib.blake2b(label.sample.image, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _row(label: Label) -> TrainingRow:
    sample = label.sample
    human = sample.human_mask is not None and not sample.held_out
    mask = sample.human_mask if human and sample.human_mask is not None else label.mask
    return TrainingRow(
        sample_id=sample.id,
        recipe=label.lineage.recipe,
        origin="human" if human else "machine",
        source=sample.source,
        kind=sample.kind,
        difficulty=sample.difficulty,
        instruction=sample.instruction,
        image=sample.image,
        mask=mask,
        truth=None if human else sample.human_mask,
        machine_mask=label.mask if human else None,
        verification=1 - label.scores.presence if math.isnan(label.scores.verification) else label.scores.verification,
        quality=label.scores.quality,
        accepted=label.status in (Status.ACCEPTED, Status.NO_TARGET),
    )


def _thin(rows: list[TrainingRow], limit: int) -> list[TrainingRow]:
    """Every k-th row, at most `limit`."""
    if len(rows) <= limit:
        return rows
    return [rows[int(i)] for i in np.linspace(0, len(rows) - 1, limit)] if limit > 0 else []


def truth_iou(rows: Iterable[TrainingRow]) -> np.ndarray:
    """IoU of each row's mask with its truth, iou_N float32; NaN where the truth is unknown."""
    return np.array([float("nan") if r.truth is None else rle.iou(r.mask, r.truth) for r in rows], np.float32)


def hold_back(rows: TrainingRows, share: float) -> tuple[TrainingRows, tuple[TrainingRow, ...]]:
    """Take a share of the images with human masks, and every row of them, out of the training rows.

    Which images those are depends on their bytes alone. Test rows are not touched: what was chosen by their scores
    could not be scored on them.

    Returns:
        The rows that are left, and human rows to validate on: their mask is their truth.

    Raises:
        ConfigError: no human row is held back, or none is left.
    """
    chosen = {row.image_key for row in rows.human if int(row.image_key[::-1], 16) < share * 2**64}
    held = tuple(replace(row, truth=row.mask) for row in rows.human if row.image_key in chosen)
    left = replace(
        rows,
        human=tuple(row for row in rows.human if row.image_key not in chosen),
        machine=tuple(row for row in rows.machine if row.image_key not in chosen),
    )
    check_held_back(len(left.human), len(held), share)
    return left, held


def check_held_back(left: int, held: int, share: float) -> None:
    """Raise ConfigError if no human row is left to train on, or none is held back to validate on."""
    if not held or not left:
        raise ConfigError(
            f"of {left + held} human rows a share of {share} leaves {left} to train on and {held} "
            "to validate on; change 'run.validation_share', add human masks, or set 'run.evaluate_every' to 0"
        )
