"""A chooser that true masks teach: how probably is each alternative to a label right, and when may one replace it?

Each fold grows a forest on the labels of the other folds' images, as a judge does (`ivm_data.quality.judge`): no label
is chosen for by what its own image taught. The margin by which an alternative must be likelier right than the label is
the one that gains most among the labels that taught, each chosen for by a forest that did not see it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ivm_data.quality.forest import Forest, Growth, grow
from ivm_data.quality.judge import fold_of

FOLDS = 5
GROWTH = Growth(trees=150, leaf=3, share=0.3)
MARGINS = (*np.arange(0, 0.75, 0.025).tolist(), 9.0)
"""The last one replaces nothing."""


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What a chooser looks at of one label with K choices, the label's own mask first.

    Attributes:
        group: image or episode; see `judge_features.group`.
        row_F: what a judge looks at.
        fit_KC: how each choice agrees with a masking model's heatmap; the first column is the fit.
    """

    group: str
    row_F: np.ndarray
    fit_KC: np.ndarray

    def columns(self) -> np.ndarray:
        """A row for each choice, (K, C): where it stands, itself, the label's own mask, the label's row."""
        count, fit_K = len(self.fit_KC), self.fit_KC[:, 0]
        place_K4 = np.stack([np.arange(count) == 0, fit_K - fit_K[0], fit_K - fit_K.max(), np.full(count, count)], 1)
        own_KC = np.broadcast_to(self.fit_KC[0], self.fit_KC.shape)
        return np.concatenate([place_K4, self.fit_KC, own_KC, np.broadcast_to(self.row_F, (count, len(self.row_F)))], 1)


@dataclass(frozen=True)
class Choice:
    """The best alternative to a label.

    Attributes:
        best: its index; 0 where there is none but the label itself.
        own, other: P(right) of the label, and of the alternative.
    """

    best: int
    own: float
    other: float

    @property
    def gain(self) -> float:
        """How much likelier right the alternative is."""
        return self.other - self.own


@dataclass(frozen=True, eq=False)
class Chooser:
    """What true masks taught.

    Attributes:
        forests: one for each fold.
        taught: labels that taught it.
        margin: least `Choice.gain` with which an alternative takes a label's place.
        gained: right labels more among those that taught it, each chosen for by a forest that did not see it.
    """

    forests: tuple[Forest, ...]
    taught: int
    margin: float
    gained: int

    @cached_property
    def name(self) -> str:
        """What the lineage of a label calls it."""
        digest = hashlib.blake2b(f"{self.margin}".encode(), digest_size=6)
        for forest in self.forests:
            for tensor in forest.tensors().values():
                digest.update(tensor.tobytes())
        return f"chooser@{digest.hexdigest()}"

    def choose(self, label: Alternatives) -> Choice:
        """The best alternative, by the forest that saw nothing of the label's image."""
        return _choice(self.forests[fold_of(label.group, FOLDS)], label)

    def replaces(self, choice: Choice) -> bool:
        """Whether the alternative takes the label's place."""
        return choice.best > 0 and choice.gain > self.margin


def teach_chooser(labels: Sequence[Alternatives], right: Sequence[np.ndarray]) -> Chooser:
    """Grow the forests and find the margin.

    Args:
        right: which choices of each label are right, bool (K,).

    Raises:
        ValueError: the labels of all folds but one have no right or no wrong choice.
    """
    fold_N = np.array([fold_of(one.group, FOLDS) for one in labels])
    forests = tuple(_grown(labels, right, np.flatnonzero(fold_N != fold), seed=fold) for fold in range(FOLDS))
    choices = [_choice(forests[fold], one) for fold, one in zip(fold_N.tolist(), labels, strict=True)]
    gains = [_gained(choices, right, margin) for margin in MARGINS]
    gained, margin = max(zip(gains, MARGINS, strict=True))
    return Chooser(forests, len(labels), margin, gained)


def _gained(choices: Sequence[Choice], right: Sequence[np.ndarray], margin: float) -> int:
    pairs = zip(choices, right, strict=True)
    return sum(int(right_K[one.best]) - int(right_K[0]) for one, right_K in pairs if one.gain > margin)


def _grown(labels: Sequence[Alternatives], right: Sequence[np.ndarray], teach: np.ndarray, seed: int) -> Forest:
    right_M = np.concatenate([right[n] for n in teach]) if len(teach) else np.zeros(0, bool)
    if len(set(right_M.tolist())) < 2:
        raise ValueError("a chooser needs right and wrong choices in every fold")
    return grow(np.concatenate([labels[n].columns() for n in teach]), right_M, GROWTH, seed)


def _choice(forest: Forest, label: Alternatives) -> Choice:
    p_K = forest.probability(label.columns())
    best = int(p_K[1:].argmax()) + 1 if len(p_K) > 1 else 0
    return Choice(best, float(p_K[0]), float(p_K[best]))
