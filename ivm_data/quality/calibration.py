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
from typing import Any

import numpy as np

from storage.disk.publish import write_text
from storage.errors import WeightsError
from storage.records import Proposal, Scores

MASK_FEATURES = (
    "presence",
    "grounding",
    "margin",
    "candidate",
    "relation",
    "predicted_iou",
    "stability",
    "agreement",
    "area_ratio",
    "witnessed",
    "in_context",
    "p_yes_kept",
    "p_yes_complement",
)
ABSENT_FEATURES = ("presence", "grounding")
VOTE_FEATURES = ("support",)
MAX_CHARACTERS = 1 << 20
"""Of a calibration's file; one has some thousand."""

_PROBABILITIES = {"support", "presence", "candidate", "p_yes_kept", "p_yes_complement", "grounding", "in_context"}


@dataclass(frozen=True)
class Logistic:
    """P(right) = sigmoid(bias + sum(weight_i * (x_i - mean_i) / scale_i)); a missing feature counts as its mean.

    Raises:
        ValueError: numbers that are not finite, a scale that is not positive, or not one number of each for a feature.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        for name in ("mean", "scale", "weight"):
            if len(numbers := getattr(self, name)) != len(self.features):
                raise ValueError(f"'{name}' has {len(numbers)} numbers for {len(self.features)} features")
            if not all(map(math.isfinite, numbers)):
                raise ValueError(f"'{name}' must be finite numbers, got {list(numbers)}")
        if not math.isfinite(self.bias) or not all(scale > 0 for scale in self.scale):
            raise ValueError(f"'bias' must be finite and 'scale' positive, got {self.bias} and {list(self.scale)}")

    def probability(self, scores: Scores | Proposal) -> float:
        """P(right) for one label's or one proposal's scores, in (0, 1)."""
        x = np.array([feature(scores, name) for name in self.features])
        mean = np.array(self.mean)
        z = np.where(np.isnan(x), 0.0, (x - mean) / np.array(self.scale))
        return 1 / (1 + math.exp(-float(np.clip(self.bias + z @ np.array(self.weight), -30, 30))))


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
            proposers = {name: _logistic(values, VOTE_FEATURES) for name, values in dict(raw["proposers"]).items()}
            masks, absences = (int(rows) for rows in raw["rows"])
            mask, absent = _logistic(raw["mask"], MASK_FEATURES), _logistic(raw["absent"], ABSENT_FEATURES)
            return cls(mask, absent, proposers, (masks, absences))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise WeightsError(
                f"calibration '{path}' cannot be used ({type(error).__name__}: {error}); "
                "make one with 'ivm calibrate --data DIR --out FILE'"
            ) from error


class Uncalibrated:
    """Quality before anybody fitted it: how far experts that do not know of each other say the same. No probability.

    One LMM's raw P(yes) is not enough: it rewrites, verifies and errs in one.
    """

    def quality(self, scores: Scores, absent: bool) -> float:
        """In [0, 1]: the geometric mean of what grounder, LMM and further proposers say; where no proposer or grounder
        says anything, the two-sided verification too. Absent: of how little the LMM and the grounder see of the target.
        """
        if absent:
            return _mean(1 - scores.presence, 1 - scores.grounding)
        independent = (scores.grounding, scores.candidate, scores.agreement)
        unknown = any(map(math.isnan, independent))
        return _mean(*independent, *([scores.verification] if unknown else []))

    def vote(self, proposal: Proposal) -> float:
        """The expert's own support."""
        return proposal.support


def _mean(*scores: float) -> float:
    """Geometric mean of those that are known; NaN where none is."""
    known = [score for score in scores if not math.isnan(score)]
    return math.prod(known) ** (1 / len(known)) if known else math.nan


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has more than {MAX_CHARACTERS} characters")
    return text


def _logistic(values: Mapping[str, Any], known: Sequence[str]) -> Logistic:
    features = tuple(values["features"])
    if wrong := [name for name in features if name not in known or features.count(name) > 1]:
        raise ValueError(f"it has {wrong} among its features; each of {', '.join(known)} may be there once")
    mean, scale, weight = (tuple(map(float, values[name])) for name in ("mean", "scale", "weight"))
    return Logistic(features, mean, scale, weight, float(values["bias"]))


def expected_calibration_error(probability: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """ECE: mean |confidence - accuracy| over equal-width bins, weighted by their size (Guo et al. 2017, eq. 3)."""
    p, y = np.asarray(probability, float), np.asarray(right, float)
    if not p.size:
        return math.nan
    index = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[index == b].mean() - y[index == b].mean()) * (index == b).sum() for b in np.unique(index)]
    return float(sum(gaps) / p.size)


def feature(scores: Scores | Proposal, name: str) -> float:
    """A score as the regressions see it: the logit of a probability, the logarithm of `area_ratio`; NaN if missing."""
    value = getattr(scores, name)
    if name in _PROBABILITIES and not math.isnan(value):
        p = min(max(value, 1e-4), 1 - 1e-4)
        return math.log(p / (1 - p))
    return math.log(max(value, 1e-6)) if name == "area_ratio" else value
