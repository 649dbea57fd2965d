"""Many scores -> one calibrated quality: the probability that a label is right; `quality.fit_calibration` learns it.

Logistic regressions: one for masks (right means IoU >= 0.5 with the human mask), one for the answer "the target is not
in the image" (right means that the human mask is empty), and one for each proposer's own masks. Coefficients
are plain JSON, so that a calibration can be read, compared and put under version control.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from storage.disk.publish import write_text
from storage.errors import WeightsError
from storage.gates import uncalibrated
from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES, Calibrated
from storage.gates.logistic import Logistic
from storage.records import Proposal, Scores

VOTE_FEATURES = ("support",)
MAX_CHARACTERS = 1 << 20
"""Of a calibration's file; one has some thousand."""


@dataclass(frozen=True)
class Calibration:
    """How a recipe turns scores into `quality`.

    Attributes:
        mask: for labels with a mask.
        absent: for labels that say "no target".
        proposers: for each proposer's masks, by `model@revision`.
        rows: how many human rows the first two were fitted on.
    """

    mask: Logistic
    absent: Logistic
    proposers: Mapping[str, Logistic]
    rows: tuple[int, int]

    @property
    def regressions(self) -> Calibrated:
        """What a gate needs of it: the votes of proposers shape masks, and are evidence."""
        return Calibrated(self.mask, self.absent)

    def quality(self, scores: Scores, absent: bool) -> float:
        """Calibrated probability that the label is right."""
        return (self.absent if absent else self.mask).probability(scores)

    def vote(self, proposal: Proposal) -> float:
        """P(right) of one proposal given its support; an expert that was not calibrated votes with its support."""
        known = self.proposers.get(proposal.expert)
        return proposal.support if known is None or not proposal.support else known.probability(proposal)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote; it may know fewer features than are known now, and no other ones.

        Raises:
            WeightsError: if the file is missing, is no calibration, or one that could give a quality that is no number.
        """
        try:
            raw = json.loads(_read(path))
            proposers = {name: Logistic.of(values, VOTE_FEATURES) for name, values in dict(raw["proposers"]).items()}
            masks, absences = (int(rows) for rows in raw["rows"])
            mask, absent = Logistic.of(raw["mask"], MASK_FEATURES), Logistic.of(raw["absent"], ABSENT_FEATURES)
            return cls(mask, absent, proposers, (masks, absences))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise WeightsError(
                f"calibration '{path}' cannot be used ({type(error).__name__}: {error}); "
                "make one with 'ivm calibrate --data DIR --out FILE'"
            ) from error


class Uncalibrated:
    """Quality of a recipe without a calibration; see `storage.gates.uncalibrated`."""

    def quality(self, scores: Scores, absent: bool) -> float:
        """How far experts that do not know of each other say the same, in [0, 1]."""
        return uncalibrated.quality(scores, absent)

    def vote(self, proposal: Proposal) -> float:
        """The expert's own support."""
        return proposal.support


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has more than {MAX_CHARACTERS} characters")
    return text


def expected_calibration_error(probability: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """ECE: mean |confidence - accuracy| over equal-width bins, weighted by their size (Guo et al. 2017, eq. 3)."""
    p, y = np.asarray(probability, float), np.asarray(right, float)
    if not p.size:
        return math.nan
    index = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[index == b].mean() - y[index == b].mean()) * (index == b).sum() for b in np.unique(index)]
    return float(sum(gaps) / p.size)
