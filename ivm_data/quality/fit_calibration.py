"""Human rows -> a calibration: scikit-learn fits what `ivm_data.quality.calibration` applies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ivm_data.quality.calibration import (
    ABSENT_FEATURES,
    MASK_FEATURES,
    VOTE_FEATURES,
    Calibration,
    Logistic,
    feature,
)
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.records import Label, Proposal, Scores


def calibrate(labels: Iterable[Label]) -> Calibration:
    """Fit on every label whose human mask may be used (not held out)."""
    masks, absences = _Rows(), _Rows()
    proposers: dict[str, _Rows] = defaultdict(_Rows)
    for label in labels:
        human = label.sample.human_mask
        if human is None or label.sample.held_out or label.request.scope == "whole image":
            continue
        if not label.proposals:
            absences.add(label.scores, rle.area(human) == 0)
            continue
        masks.add(label.scores, is_right(label.human_iou))
        for proposal in label.proposals:
            proposers[proposal.expert].add(proposal, is_right(rle.iou(proposal.mask, human)))
    return Calibration(
        mask=fit_logistic(MASK_FEATURES, masks.scores, masks.right),
        absent=fit_logistic(ABSENT_FEATURES, absences.scores, absences.right),
        proposers={
            name: fit_logistic(VOTE_FEATURES, rows.scores, rows.right)
            for name, rows in sorted(proposers.items())
            if len(set(rows.right)) == 2
        },
        rows=(len(masks.right), len(absences.right)),
    )


def fit_logistic(features: tuple[str, ...], scores: Sequence[Scores | Proposal], right: Sequence[bool]) -> Logistic:
    """Fit by L2-regularised maximum likelihood (scikit-learn).

    Raises:
        ConfigError: if the rows are not of both kinds.
    """
    if len(set(right)) < 2:
        raise ConfigError(
            f"calibration needs right and wrong human rows, got {len(right)} rows, {sum(right)} of them right; "
            "label more human rows (a manifest with 'targets')"
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


@dataclass
class _Rows:
    """Scores and whether what they belong to is right, row by row."""

    scores: list[Scores | Proposal] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, scores: Scores | Proposal, right: bool) -> None:
        self.scores.append(scores)
        self.right.append(right)
