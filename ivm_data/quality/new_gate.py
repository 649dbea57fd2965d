"""What a person asks of a gate, as `ivm gate` and the flow `gate` take it, and the gate that this gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivm_data.quality import regate
from ivm_data.quality.judge import Judge
from ivm_data.quality.judging import judge_labels, judged_gate
from ivm_data.quality.promised import Promised, promised
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.gate import By, Gate


@dataclass(frozen=True)
class GateRequest:
    """How a gate is to differ from the current one.

    Attributes:
        thresholds: fields of `storage.gates.gate.GateConfig`.
        calibration: see `ivm_data.quality.regate.changed`; "" leaves the quality as it is.
        precision: share of right labels to promise; None promises nothing.
        confidence: with which the promise holds.
        by: what the promise is by.
        name: with nothing else, an earlier gate of this name.
        judge: folder of `ivm train-judge` whose quality is meant; None leaves it as it is.

    Raises:
        ConfigError: what contradicts itself.
    """

    thresholds: Mapping[str, Any] = field(default_factory=dict)
    calibration: str = ""
    precision: float | None = None
    confidence: float = 0.95
    by: By = ""
    name: str = ""
    judge: Path | None = None

    def __post_init__(self) -> None:
        if self.precision is not None and "accept" in self.thresholds:
            raise ConfigError("give 'accept' or 'precision': the precision decides from which quality on to accept")
        if self.judge is not None and self.calibration:
            raise ConfigError("give 'calibration' or 'judge': each of them is where the quality comes from")
        if self.by and self.precision is None:
            raise ConfigError(f"by {self.by!r} needs a promise, for example a precision of 0.95")

    @property
    def changes(self) -> bool:
        """Whether anything differs; else an earlier gate is meant, or the current one."""
        return bool(self.thresholds or self.calibration or self.precision is not None or self.judge is not None)

    def of(self, data: DataSet) -> tuple[Gate, Promised | None]:
        """The gate, and what its promise rests on. Where nothing can be promised, the gate is the one without.

        Raises:
            ConfigError: no such gate, thresholds out of order, or a promise of which nothing is known.
            WeightsError: a calibration that cannot be used.
        """
        if not self.changes:
            return data.book.named(self.name, data.recipe)[data.recipe], None
        gate = regate.current(data)
        if self.judge is not None:
            gate = judged_gate(gate, Judge.load(self.judge))
        if self.thresholds or self.calibration:
            gate = regate.changed(gate, self.thresholds, self.calibration)
        if self.precision is None:
            return gate, None
        found = promised(data.decided_by(gate), gate, self.precision, self.confidence, self.by)
        return (found.gate if found.holds else gate), found

    def judge_new_labels(self, folder: Path) -> int:
        """Let the judge that is asked for judge what came since it was taught; before the data set is opened.

        Returns:
            How many there were.
        """
        return 0 if self.judge is None else judge_labels(folder, Judge.load(self.judge))
