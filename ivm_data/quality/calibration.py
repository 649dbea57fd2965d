"""Many scores -> one calibrated quality: the probability that a label is right, learned from human rows.

Two logistic regressions: one for masks (right means IoU >= 0.5 with the human mask) and one for the answer "the
target is not in the image" (right means that the human mask is empty). Coefficients are plain JSON, so that a
calibration can be read, compared and put under version control.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from storage import rle
from storage.errors import ConfigError, WeightsError
from storage.records import Label, Scores

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
_PROBABILITIES = {"presence", "candidate", "p_yes_kept", "p_yes_complement", "grounding"}


@dataclass(frozen=True)
class Logistic:
    """P(right) = sigmoid(bias + sum(weight_i * (x_i - mean_i) / scale_i)); a missing feature counts as its mean."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float

    def probability(self, scores: Scores) -> float:
        """P(right) for one label's scores, in (0, 1)."""
        x = np.array([_feature(scores, name) for name in self.features])
        mean = np.array(self.mean)
        z = np.where(np.isnan(x), 0.0, (x - mean) / np.array(self.scale))
        return 1 / (1 + math.exp(-float(np.clip(self.bias + z @ np.array(self.weight), -30, 30))))

    @classmethod
    def fit(cls, features: tuple[str, ...], scores: Sequence[Scores], right: Sequence[bool]) -> Logistic:
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
            features, *(tuple(map(float, v)) for v in (scaler.mean_, scaler.scale_, model.coef_[0])),
            float(model.intercept_[0]),
        )  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """How a recipe turns scores into `quality`.

    Attributes:
        mask: for labels with a mask.
        absent: for labels that say "no target".
        rows: how many human rows each was fitted on.
    """

    mask: Logistic
    absent: Logistic
    rows: tuple[int, int]

    def quality(self, scores: Scores, absent: bool) -> float:
        """Calibrated probability that the label is right."""
        return (self.absent if absent else self.mask).probability(scores)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            WeightsError: if the file is missing or is no calibration.
        """
        try:
            raw = json.loads(path.read_text())
            mask, absent = (
                Logistic(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw[name].items()})
                for name in ("mask", "absent")
            )
            return cls(mask, absent, tuple(raw["rows"]))
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


def calibrate(labels: Iterable[Label]) -> Calibration:
    """Fit on every label whose human mask may be used (not held out)."""
    masks: tuple[list[Scores], list[bool]] = ([], [])
    absences: tuple[list[Scores], list[bool]] = ([], [])
    for label in labels:
        human = label.sample.human_mask
        if human is None or label.sample.held_out:
            continue
        says_absent = not label.proposals
        group = absences if says_absent else masks
        group[0].append(label.scores)
        group[1].append(rle.area(human) == 0 if says_absent else label.human_iou >= RIGHT_IOU)
    return Calibration(
        Logistic.fit(MASK_FEATURES, *masks), Logistic.fit(ABSENT_FEATURES, *absences), (len(masks[0]), len(absences[0]))
    )


def expected_calibration_error(probability: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """ECE: mean |confidence - accuracy| over equal-width bins, weighted by their size (Guo et al. 2017, eq. 3)."""
    p, y = np.asarray(probability, float), np.asarray(right, float)
    if not p.size:
        return math.nan
    index = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[index == b].mean() - y[index == b].mean()) * (index == b).sum() for b in np.unique(index)]
    return float(sum(gaps) / p.size)


def _feature(scores: Scores, name: str) -> float:
    value = getattr(scores, name)
    if name in _PROBABILITIES and not math.isnan(value):
        p = min(max(value, 1e-4), 1 - 1e-4)
        return math.log(p / (1 - p))
    return math.log(max(value, 1e-6)) if name == "area_ratio" else value
