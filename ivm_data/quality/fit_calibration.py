"""Human rows -> a calibration: scikit-learn fits what `ivm_data.quality.calibration` applies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ivm_data.quality.calibration import VOTE_FEATURES, Calibration
from storage.errors import ConfigError
from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES
from storage.gates.logistic import Logistic, feature
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.records import Label, Proposal, Rle, Scores
from storage.reviews import Adjudication


def calibrate(labels: Iterable[Label], reviewed: Mapping[str, Adjudication] | None = None) -> Calibration:
    """Fit on every label that is not held out and has a human mask, or was judged by people.

    Args:
        reviewed: sample id -> what people said of that label; it outweighs the mask that came with the sample.
    """
    masks, absences = _Rows(), _Rows()
    proposers: dict[str, _Rows] = defaultdict(_Rows)
    for label in labels:
        truth = _truth(label, (reviewed or {}).get(label.sample.id))
        if truth is None or label.sample.held_out or label.request.scope == "whole image":
            continue
        (masks if label.proposals else absences).add(label.scores, truth.label_is_right)
        if truth.mask is None:
            continue
        for proposal in label.proposals:
            proposers[proposal.expert].add(proposal, is_right(rle.iou(proposal.mask, truth.mask)))
    return Calibration(
        mask=fit_logistic(MASK_FEATURES, masks.scores, masks.right),
        absent=_absent(absences),
        proposers={
            name: fit_logistic(VOTE_FEATURES, rows.scores, rows.right)
            for name, rows in sorted(proposers.items())
            if len(set(rows.right)) == 2
        },
        rows=(len(masks.right), len(absences.right)),
    )


def _absent(rows: _Rows) -> Logistic:
    """Fitted where there are both kinds; else the share of right ones, drawn to a half by one of each (Laplace)."""
    right, count = sum(rows.right), len(rows.right)
    if 0 < right < count:
        return fit_logistic(ABSENT_FEATURES, rows.scores, rows.right)
    zeros, ones = (0.0,) * len(ABSENT_FEATURES), (1.0,) * len(ABSENT_FEATURES)
    return Logistic(ABSENT_FEATURES, zeros, ones, zeros, bias=math.log((right + 1) / (count - right + 1)))


def fit_logistic(features: tuple[str, ...], scores: Sequence[Scores | Proposal], right: Sequence[bool]) -> Logistic:
    """Fit by L2-regularised maximum likelihood (scikit-learn).

    Raises:
        ConfigError: if the rows are not of both kinds.
    """
    if len(set(right)) < 2:
        raise ConfigError(
            f"calibration needs right and wrong human rows, got {len(right)} rows, {sum(right)} of them right; "
            "give more human rows: a manifest with 'targets', or verdicts and fixed masks with 'ivm review'"
        )
    x_NF = np.array([[feature(s, name) for name in features] for s in scores])
    mean = np.array([np.nanmean(column) if not np.isnan(column).all() else 0.0 for column in x_NF.T])
    x_NF = np.where(np.isnan(x_NF), mean, x_NF)
    scaler = StandardScaler().fit(x_NF)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x_NF), np.array(right))
    return Logistic(
        features,
        mean=tuple(map(float, scaler.mean_)),
        scale=tuple(map(float, scaler.scale_)),
        weight=tuple(map(float, model.coef_[0])),
        bias=float(model.intercept_[0]),
    )


class _Truth(NamedTuple):
    """What is known of a label: whether it is right, and the true mask; None where nobody drew one."""

    label_is_right: bool
    mask: Rle | None


def _truth(label: Label, said: Adjudication | None) -> _Truth | None:
    """What people said of a label, or else what the human mask says; None where neither is there."""
    verdict = said.verdict if said else ""
    if verdict == "wrong_instruction":
        return None
    if verdict == "right":
        return _Truth(True, label.mask)
    mask = said.mask if said and said.mask else label.sample.human_mask
    if mask is None:
        return _Truth(False, None) if verdict == "wrong" else None
    right = is_right(rle.iou(label.mask, mask)) if label.proposals else rle.area(mask) == 0
    return _Truth(right and verdict != "wrong", mask)


@dataclass
class _Rows:
    """Scores and whether what they belong to is right, row by row."""

    scores: list[Scores | Proposal] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, scores: Scores | Proposal, right: bool) -> None:
        self.scores.append(scores)
        self.right.append(right)
