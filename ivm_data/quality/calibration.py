"""Many scores -> one calibrated quality: the probability that a label is right, learned from human rows.

Logistic regressions: one for masks (right means IoU >= 0.5 with the human mask), one for the answer "the target is not
in the image" (right means that the human mask is empty), and one for each proposer's own masks. Coefficients
are plain JSON, so that a calibration can be read, compared and put under version control.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from storage import rle
from storage.errors import ConfigError, WeightsError
from storage.publish import write_text
from storage.records import Label, Proposal, Scores

RIGHT_IOU = 0.5
"""A mask counts as right from this overlap with the human mask on."""

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
    "p_yes_kept",
    "p_yes_complement",
)
ABSENT_FEATURES = ("presence", "grounding")
VOTE_FEATURES = ("support",)
_PROBABILITIES = {"support", "presence", "candidate", "p_yes_kept", "p_yes_complement", "grounding"}


@dataclass(frozen=True)
class Logistic:
    """P(right) = sigmoid(bias + sum(weight_i * (x_i - mean_i) / scale_i)); a missing feature counts as its mean."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def probability(self, scores: Scores | Proposal) -> float:
        """P(right) for one label's or one proposal's scores, in (0, 1)."""
        x = np.array([_feature(scores, name) for name in self.features])
        mean = np.array(self.mean)
        z = np.where(np.isnan(x), 0.0, (x - mean) / np.array(self.scale))
        return 1 / (1 + math.exp(-float(np.clip(self.bias + z @ np.array(self.weight), -30, 30))))

    @classmethod
    def fit(cls, features: tuple[str, ...], scores: Sequence[Scores | Proposal], right: Sequence[bool]) -> Logistic:
        """Fit by L2-regularised maximum likelihood (scikit-learn).

        Raises:
            ConfigError: if the rows are not of both kinds.
        """
        if len(set(right)) < 2:
            raise ConfigError(
                f"calibration needs right and wrong human rows, got {len(right)} rows, {sum(right)} of them right; "
                "label more human rows (a manifest with 'targets')"
            )
        x_NF = np.array([[_feature(s, name) for name in features] for s in scores])
        mean = np.array([np.nanmean(column) if not np.isnan(column).all() else 0.0 for column in x_NF.T])
        x_NF = np.where(np.isnan(x_NF), mean, x_NF)
        scaler = StandardScaler().fit(x_NF)
        model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x_NF), np.array(right))
        return cls(
            features,
            mean=tuple(map(float, scaler.mean_)),
            scale=tuple(map(float, scaler.scale_)),
            weight=tuple(map(float, model.coef_[0])),
            bias=float(model.intercept_[0]),
        )


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
        """Read what `save` wrote.

        Raises:
            WeightsError: if the file is missing or is no calibration.
        """
        try:
            raw = json.loads(path.read_text())
            proposers = {name: _logistic(values) for name, values in raw["proposers"].items()}
            return cls(_logistic(raw["mask"]), _logistic(raw["absent"]), proposers, tuple(raw["rows"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"calibration {path} cannot be read ({type(error).__name__}: {error}); "
                "make one with 'ivm calibrate --data DIR --out FILE'"
            ) from error


class Uncalibrated:
    """Quality before anybody fitted it: the verifier's word as it is."""

    def quality(self, scores: Scores, absent: bool) -> float:
        """The two-sided verification, or how sure the LMM is that the target is absent; in [0, 1]."""
        return 1 - scores.presence if absent else scores.verification

    def vote(self, proposal: Proposal) -> float:
        """The expert's own support."""
        return proposal.support


def calibrate(labels: Iterable[Label]) -> Calibration:
    """Fit on every label whose human mask may be used (not held out)."""
    masks, absences = _Rows(), _Rows()
    proposers: dict[str, _Rows] = defaultdict(_Rows)
    for label in labels:
        human = label.sample.human_mask
        if human is None or label.sample.held_out:
            continue
        if not label.proposals:
            absences.add(label.scores, rle.area(human) == 0)
            continue
        masks.add(label.scores, label.human_iou >= RIGHT_IOU)
        for proposal in label.proposals:
            proposers[proposal.expert].add(proposal, rle.iou(proposal.mask, human) >= RIGHT_IOU)
    return Calibration(
        mask=Logistic.fit(MASK_FEATURES, masks.scores, masks.right),
        absent=Logistic.fit(ABSENT_FEATURES, absences.scores, absences.right),
        proposers={
            name: Logistic.fit(VOTE_FEATURES, rows.scores, rows.right)
            for name, rows in sorted(proposers.items())
            if len(set(rows.right)) == 2
        },
        rows=(len(masks.right), len(absences.right)),
    )


@dataclass
class _Rows:
    """Scores and whether what they belong to is right, row by row."""

    scores: list[Scores | Proposal] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, scores: Scores | Proposal, right: bool) -> None:
        self.scores.append(scores)
        self.right.append(right)


def _logistic(values: Mapping[str, Any]) -> Logistic:
    mean, scale, weight = (tuple(values[name]) for name in ("mean", "scale", "weight"))
    return Logistic(tuple(values["features"]), mean, scale, weight, values["bias"])


def expected_calibration_error(probability: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """ECE: mean |confidence - accuracy| over equal-width bins, weighted by their size (Guo et al. 2017, eq. 3)."""
    p, y = np.asarray(probability, float), np.asarray(right, float)
    if not p.size:
        return math.nan
    index = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[index == b].mean() - y[index == b].mean()) * (index == b).sum() for b in np.unique(index)]
    return float(sum(gaps) / p.size)


def _feature(scores: Scores | Proposal, name: str) -> float:
    value = getattr(scores, name)
    if name in _PROBABILITIES and not math.isnan(value):
        p = min(max(value, 1e-4), 1 - 1e-4)
        return math.log(p / (1 - p))
    return math.log(max(value, 1e-6)) if name == "area_ratio" else value
