"""How many verdicts people still have to give until a judge is worth training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivm_data.quality.fit_calibration import LEAST
from ivm_data.quality.judge import CONFIG, DEFAULT, Judge, JudgeConfig
from ivm_data.quality.regate import current
from ivm_data.quality.verdicts import verdicts
from storage.data_set import DataSet
from storage.gates.gate import Judged


@dataclass(frozen=True)
class Readiness:
    """How far people are from a judge that is worth training.

    Attributes:
        verdicts: that would teach one now.
        taught: that taught the latest judge; 0 where there is none.
        more: verdicts that are missing; 0 where a training pays.
    """

    verdicts: int
    taught: int
    more: int

    @property
    def text(self) -> str:
        """The same for people."""
        if not self.more:
            return f"{self.verdicts} verdicts: train the judge {'anew' if self.taught else 'now'}"
        return f"{self.more} more verdicts and the judge is trained{' anew' if self.taught else ''}"


def readiness(data: DataSet, config: JudgeConfig = DEFAULT, out: Path | None = None) -> Readiness:
    """Of the one recipe of a data set, whatever gate it is opened with.

    Args:
        config: of a first judge; the one that the current gate stands on says itself when it is to be trained anew.
        out: a judge that was trained and that no gate stands on yet.

    Raises:
        ConfigError: no labels, or several recipes.
        WeightsError: `out` is there and cannot be used.
    """
    quality, taught, anew = current(data).quality, 0, config.anew
    if isinstance(quality, Judged):
        taught, anew = quality.verdicts, quality.anew
    if out is not None and (out / CONFIG).exists():
        judge = Judge.load(out)
        taught = max(taught, judge.verdicts if judge.recipe == data.recipe else 0)
    right_N = verdicts(data).right_N
    known, right = len(right_N), int(right_N.sum())
    wanted = taught + anew if taught else config.least
    return Readiness(known, taught, max(0, wanted - known, LEAST - right, LEAST - (known - right)))
