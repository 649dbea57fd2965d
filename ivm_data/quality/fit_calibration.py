"""Labels whose truth is known -> a calibration: scikit-learn fits what `ivm_data.quality.calibration` applies.

A person's mask is the truth of a label: one that came with the sample, or one that a reviewer fixed. A verdict without
a mask says whether the label is right; of a right one the engine's mask is the truth, which judges proposals too.
What judges does not teach: human masks that are held out, and reviews in random order (`ivm_data.quality.judged`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from ivm_data.quality.calibration import VOTE_FEATURES, Calibration, expected_calibration_error
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES
from storage.gates.logistic import Logistic, feature
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.records import Label, Proposal, Rle, Scores
from storage.tables import reviews
from storage.tables.reviews import Adjudication

LEAST = 5
"""Right and wrong labels that a regression needs of each."""

FOLDS = 5

Reviewed = Mapping[tuple[str, str], Adjudication]
"""(recipe, sample id) -> what its reviews mean."""


@dataclass
class Rows:
    """Scores, whether what they belong to is right, and of which image, row by row."""

    scores: list[Scores | Proposal] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def add(self, scores: Scores | Proposal, right: bool, image: str) -> None:
        """Add a row."""
        self.scores.append(scores)
        self.right.append(bool(right))
        self.images.append(image)

    @property
    def missing(self) -> str:
        """What a regression still needs, such as "3 more wrong"; "" where it has enough."""
        counts = {"right": sum(self.right), "wrong": len(self.right) - sum(self.right)}
        return " and ".join(f"{LEAST - n} more {kind}" for kind, n in counts.items() if n < LEAST)

    def check(self, what: str) -> None:
        """Refuse too few of either kind."""
        if self.missing:
            right = sum(self.right)
            raise ConfigError(
                f"calibration of {what} needs {LEAST} right and {LEAST} wrong ones at least, got {right} and "
                f"{len(self.right) - right}: {self.missing} are missing; review labels with 'ivm review', or label "
                "more human rows (a manifest with 'targets')"
            )


@dataclass
class Lessons:
    """What a calibration learns from.

    Attributes:
        masks, absences: labels with a mask, and those that say "no target".
        proposers: each proposer's own masks.
        by: how many labels each kind of truth taught: "human mask", "right", "fixed" or "wrong".
    """

    masks: Rows = field(default_factory=Rows)
    absences: Rows = field(default_factory=Rows)
    proposers: dict[str, Rows] = field(default_factory=lambda: defaultdict(Rows))
    by: Counter[str] = field(default_factory=Counter)

    def fit(self) -> Calibration:
        """See `calibrate`."""
        self.masks.check("masks")
        return Calibration(
            mask=fit_logistic(MASK_FEATURES, self.masks.scores, self.masks.right),
            absent=_absent(self.absences),
            proposers={
                name: fit_logistic(VOTE_FEATURES, rows.scores, rows.right)
                for name, rows in sorted(self.proposers.items())
                if len(set(rows.right)) == 2
            },
            rows=(len(self.masks.right), len(self.absences.right)),
        )


def _absent(rows: Rows) -> Logistic:
    """Fitted where there are enough of both kinds; else the share of right ones, with one more of each (Laplace)."""
    if not rows.missing:
        return fit_logistic(ABSENT_FEATURES, rows.scores, rows.right)
    right, count = sum(rows.right), len(rows.right)
    zeros, ones = (0.0,) * len(ABSENT_FEATURES), (1.0,) * len(ABSENT_FEATURES)
    return Logistic(ABSENT_FEATURES, zeros, ones, zeros, bias=math.log((right + 1) / (count - right + 1)))


@dataclass(frozen=True)
class Bin:
    """Labels of about one quality, each predicted by a fit that saw none of its image."""

    quality_from: float
    quality_to: float
    labels: int
    quality: float
    right_share: float


@dataclass(frozen=True)
class Reliability:
    """How good a regression is on images that it did not see, by cross-validation.

    Attributes:
        auc: NaN where it could not be cross-validated.
        ece: of 10 bins.
    """

    labels: int
    right: int
    auc: float
    ece: float
    bins: tuple[Bin, ...]


def calibrate(labels: Iterable[Label], reviewed: Reviewed | None = None) -> Calibration:
    """Fit on every label whose truth is known and may be used.

    Raises:
        ConfigError: too few right or wrong labels, with the number that is missing.
    """
    return lessons(labels, reviewed).fit()


def lessons(labels: Iterable[Label], reviewed: Reviewed | None = None) -> Lessons:
    """Sort labels by what is known of them; held-out ones and those about the whole image are left out."""
    found = Lessons()
    for label in labels:
        if label.sample.held_out or label.request.scope == "whole image":
            continue
        by, right, truth = truth_of(label, (reviewed or {}).get((label.lineage.recipe, label.sample.id)))
        if right is None:
            continue
        found.by[by] += 1
        rows = found.masks if label.proposals else found.absences
        rows.add(label.scores, right, label.sample.image_sha)
        if truth is not None:
            for proposal in label.proposals:
                overlap = is_right(rle.iou(proposal.mask, truth))
                found.proposers[proposal.expert].add(proposal, overlap, label.sample.image_sha)
    return found


def teaching(data: DataSet) -> dict[tuple[str, str], Adjudication]:
    """What people found of a data set's labels, but for reviews in random order: those are kept to judge."""
    taught = [one for one in data.reviews() if one.drawn is None or one.drawn.order != "random"]
    of_recipe = {recipe: reviews.adjudicate_all(taught, recipe) for recipe in data.recipes}
    return {(recipe, name): found for recipe, each in of_recipe.items() for name, found in each.items()}


def reliability(features: tuple[str, ...], rows: Rows) -> Reliability:
    """Cross-validate a regression, the labels of one image in one fold."""
    right = np.array(rows.right, bool)
    p_N = _out_of_fold(features, rows, right)
    auc = float(roc_auc_score(right, p_N)) if len(set(rows.right)) == 2 and not np.isnan(p_N).any() else math.nan
    known = ~np.isnan(p_N)
    ece = expected_calibration_error(p_N[known].tolist(), right[known].tolist())
    return Reliability(len(right), int(right.sum()), auc, ece, _bins(p_N[known], right[known]))


def _out_of_fold(features: tuple[str, ...], rows: Rows, right: np.ndarray) -> np.ndarray:
    p_N = np.full(len(right), np.nan)
    folds = min(FOLDS, int(right.sum()), int((~right).sum()), len(set(rows.images)))
    if folds < 2:
        return p_N
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(right, right, rows.images)
    for seen, left in splits:
        if len(set(right[seen])) == 2:
            fitted = fit_logistic(features, [rows.scores[i] for i in seen], right[seen].tolist())
            p_N[left] = [fitted.probability(rows.scores[i]) for i in left]
    return p_N


def _bins(p_N: np.ndarray, right_N: np.ndarray, bins: int = 10) -> tuple[Bin, ...]:
    index_N = np.minimum((p_N * bins).astype(int), bins - 1)
    of_bin = ((b, index_N == b) for b in np.unique(index_N).tolist())
    return tuple(
        Bin(b / bins, (b + 1) / bins, int(i.sum()), float(p_N[i].mean()), float(right_N[i].mean())) for b, i in of_bin
    )


def truth_of(label: Label, review: Adjudication | None) -> tuple[str, bool | None, Rle | None]:
    """(what says so, whether the label is right, the right mask), None where that is not known; what reviewers found
    outweighs the mask that came with the sample."""
    verdict = review.verdict if review else ""
    if verdict == "wrong_instruction":
        return "", None, None
    if verdict == "right":
        return verdict, True, label.mask
    fixed = review.mask if review else None
    truth = fixed or label.sample.human_mask
    if verdict == "wrong":
        return verdict, False, truth
    if truth is None:
        return "", None, None
    right = is_right(rle.iou(label.mask, truth)) if label.proposals else rle.area(truth) == 0
    return "fixed" if fixed else "human mask", right, truth


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
