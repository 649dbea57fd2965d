"""Ways to say how probably a label is right, each taught by verdicts on some labels, for `benchmarks.judge`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from ivm_data.quality.fit_calibration import LEAST, Lessons
from ivm_data.quality.forest import Growth, grow
from ivm_data.quality.judge import JudgeConfig, teach, weighed
from ivm_data.quality.judge_features import FEATURES, features
from ivm_data.quality.verdicts import Verdicts
from storage.records import MISSING, Scores

BASE = "the quality as it is"
SCORES = tuple(Scores.__dataclass_fields__)


@dataclass(frozen=True, eq=False)
class World:
    """Labels whose truth is known.

    Attributes:
        rows: light rows.
        scene_N: number of each label's scene.
        extra: further columns by name, (N, C).
    """

    rows: Sequence[Mapping[str, Any]]
    right_N: np.ndarray
    empty_N: np.ndarray
    quality_N: np.ndarray
    scene_N: np.ndarray
    kind_N: np.ndarray
    information_N: np.ndarray
    extra: Mapping[str, np.ndarray]

    def halves(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(labels that may be reviewed, labels of new scenes), both ways round."""
        for half in (0, 1):
            yield np.flatnonzero(self.scene_N % 2 == half), np.flatnonzero(self.scene_N % 2 != half)

    def said(self, taught: np.ndarray) -> Verdicts:
        """The verdicts on some labels."""
        by = {"right": int(self.right_N[taught].sum()), "wrong": int((~self.right_N[taught]).sum())}
        return Verdicts([self.rows[i] for i in taught], self.right_N[taught], by, 0)


Way = Callable[[World, np.ndarray, np.ndarray], np.ndarray]
"""(labels, those whose verdicts teach, those to judge) -> P(right) of the latter."""


def as_it_is(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What labeling wrote."""
    quality_N: np.ndarray = known.quality_N[new]
    return quality_N


def refitted(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A calibration of `ivm calibrate` on the verdicts; the quality as it is where there are too few for masks."""
    lessons = Lessons()
    for i in taught:
        rows = lessons.absences if known.empty_N[i] else lessons.masks
        rows.add(scores(known.rows[i]), bool(known.right_N[i]), known.rows[i]["image_sha"])
    if lessons.masks.missing:
        return as_it_is(known, taught, new)
    fitted = lessons.fit()
    return np.array([fitted.quality(scores(known.rows[i]), bool(known.empty_N[i])) for i in new])


def rescaled(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The quality's logit, scaled and shifted for masks and for absences apart (Platt)."""
    p_N = as_it_is(known, taught, new)
    x_N1 = logit(known.quality_N)[:, None]
    for empty in (False, True):
        here, there = taught[known.empty_N[taught] == empty], known.empty_N[new] == empty
        if min(known.right_N[here].sum(), (~known.right_N[here]).sum()) >= LEAST:
            model = LogisticRegression().fit(x_N1[here], known.right_N[here])
            p_N[there] = model.predict_proba(x_N1[new[there]])[:, 1]
    return p_N


def judged(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The judge of `ivm train-judge`."""
    if min(known.right_N[taught].sum(), (~known.right_N[taught]).sum()) < LEAST:
        return as_it_is(known, taught, new)
    return teach(known.said(taught), "r").judge([known.rows[i] for i in new])[0]


def of_columns(*names: str, without: Sequence[str] = ()) -> Way:
    """One forest as the judge's, with further columns, or without some of its own."""

    def way(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
        x_NF = np.concatenate([features(known.rows), *(known.extra[name] for name in names)], 1)
        x_NF[:, [FEATURES.index(name) for name in without]] = 0
        config = JudgeConfig()
        forest = grow(
            x_NF[taught], known.right_N[taught], Growth(config.trees, config.leaf, config.columns), config.seed
        )
        return weighed(forest, len(taught), x_NF[new], config.prior)

    return way


def linear(name: str) -> Way:
    """A linear head on some columns beside the quality's logit, for masks and absences apart."""

    def way(known: World, taught: np.ndarray, new: np.ndarray) -> np.ndarray:
        p_N = as_it_is(known, taught, new)
        # What is learned of each half's verdicts stands in a column of its own.
        half = known.scene_N[taught[0]] % 2
        x_NC = known.extra[f"{name} 1" if half and f"{name} 1" in known.extra else name]
        scale_C = x_NC[taught].std(0) + 1e-6
        # The quality's column is hardly held back; so many others together weigh as some eight of it.
        others_NC = (x_NC - x_NC[taught].mean(0)) / scale_C / np.sqrt(x_NC.shape[1] / 8)
        both_NC = np.concatenate([3 * logit(known.quality_N)[:, None], others_NC], 1)
        for empty in (False, True):
            here, there = taught[known.empty_N[taught] == empty], known.empty_N[new] == empty
            model = LogisticRegression(C=0.1, max_iter=500).fit(both_NC[here], known.right_N[here])
            p_N[there] = model.predict_proba(both_NC[new[there]])[:, 1]
        return p_N

    return way


WAYS: dict[str, Way] = {
    BASE: as_it_is,
    "a calibration refitted": refitted,
    "the quality rescaled": rescaled,
    "the judge": judged,
}
ASKED = FEATURES[FEATURES.index("words") : FEATURES.index("boxes")]
EVIDENCE: dict[str, Way] = {
    "the judge, one forest": of_columns(),
    "without what the instruction asks for": of_columns(without=ASKED),
    "with the agreement with zoo:ivm": of_columns("agreement"),
    "with the LMM's state of the masked image": of_columns("state"),
    "linear: quality and the LMM's state": linear("state"),
    "linear: quality and the state under a LoRA": linear("lora"),
}


def scores(row: Mapping[str, Any]) -> Scores:
    """The scores of a light row."""
    return Scores(**{name: MISSING if row[name] is None else row[name] for name in SCORES})


def logit(p_N: np.ndarray) -> np.ndarray:
    """Of probabilities, cut at 1e-4 and 1 - 1e-4."""
    p_N = np.clip(p_N, 1e-4, 1 - 1e-4)
    logit_N: np.ndarray = np.log(p_N / (1 - p_N))
    return logit_N
