"""Extremely randomised trees as plain tensors: scikit-learn grows them, no pickle is ever read.

P. Geurts, D. Ernst and L. Wehenkel, Extremely randomized trees, Machine Learning 63, 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LEAF = -1
"""Child of a leaf."""


@dataclass(frozen=True, eq=False)
class Forest:
    """T trees of M nodes in all.

    Attributes:
        roots_T: index of each tree's first node, int32.
        children_M2: nodes for a feature at most, and above, the threshold, int32; `LEAF` for both in a leaf.
        feature_M: which column a node looks at, int32.
        threshold_M: float64; a column is compared with it as float32, as scikit-learn does.
        share_M: share of right ones of what reached a node in growing, float64.
    """

    roots_T: np.ndarray
    children_M2: np.ndarray
    feature_M: np.ndarray
    threshold_M: np.ndarray
    share_M: np.ndarray

    def probability(self, x_NF: np.ndarray) -> np.ndarray:
        """P(right) of N rows, float64 (N,): the mean of the trees' leaves."""
        x_NF = np.asarray(x_NF, np.float32)
        node_NT = np.broadcast_to(self.roots_T, (len(x_NF), len(self.roots_T))).copy()
        row_N1 = np.arange(len(x_NF))[:, None]
        while (inner_NT := self.children_M2[node_NT, 0] != LEAF).any():
            above_NT = x_NF[row_N1, self.feature_M[node_NT]] > self.threshold_M[node_NT]
            node_NT = np.where(inner_NT, self.children_M2[node_NT, above_NT.astype(int)], node_NT)
        share_N: np.ndarray = self.share_M[node_NT].mean(1)
        return share_N

    def tensors(self) -> dict[str, np.ndarray]:
        """By name, as they are kept."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in _NAMES}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray], columns: int) -> Forest:
        """What `tensors` gave.

        Args:
            columns: how many a row has.

        Raises:
            ValueError, KeyError: tensors that are no forest over so many columns.
        """
        forest = cls(**{name: tensors[name] for name in _NAMES})
        forest._check(columns)
        return forest

    def _check(self, columns: int) -> None:
        nodes = len(self.feature_M)
        shapes = [self.children_M2.shape == (nodes, 2), self.threshold_M.shape == self.share_M.shape == (nodes,)]
        is_inner_M = (self.children_M2 != LEAF).all(1)
        parent_M1 = np.arange(nodes)[:, None]
        # Children lie behind their parent, so that every walk ends.
        forward = ((self.children_M2 > parent_M1) & (self.children_M2 < nodes))[is_inner_M]
        inside = ((self.roots_T >= 0) & (self.roots_T < nodes)).all() and len(self.roots_T)
        seen = ((self.feature_M >= 0) & (self.feature_M < columns))[is_inner_M]
        shares = np.isfinite(self.share_M) & (self.share_M >= 0) & (self.share_M <= 1)
        leaves = (self.children_M2[~is_inner_M] == LEAF).all()
        if not (all(shapes) and forward.all() and inside and seen.all() and shares.all() and leaves):
            raise ValueError(f"its tensors are no forest over {columns} columns")


_NAMES = tuple(Forest.__dataclass_fields__)


class Growth(NamedTuple):
    """How a forest grows: `leaf` is the least rows of a leaf, `share` that of the columns a node chooses among."""

    trees: int
    leaf: int
    share: float


def grow(x_NF: np.ndarray, right_N: np.ndarray, how: Growth, seed: int) -> Forest:
    """Grow a forest on rows without NaN, of which some are right and some are not."""
    from sklearn.ensemble import ExtraTreesClassifier

    grown = ExtraTreesClassifier(how.trees, min_samples_leaf=how.leaf, max_features=how.share, random_state=seed)
    parts = [one.tree_ for one in grown.fit(x_NF, right_N).estimators_]
    sizes = [part.node_count for part in parts]
    roots_T = np.cumsum([0, *sizes[:-1]])
    children = [
        np.where(pair == LEAF, LEAF, pair + root)
        for root, part in zip(roots_T, parts, strict=True)
        for pair in [np.stack([part.children_left, part.children_right], 1)]
    ]
    counted_M2 = np.concatenate([part.value[:, 0, :] for part in parts])
    return Forest(
        roots_T.astype(np.int32),
        np.concatenate(children).astype(np.int32),
        np.concatenate([np.maximum(part.feature, 0) for part in parts]).astype(np.int32),
        np.concatenate([part.threshold for part in parts]),
        counted_M2[:, 1] / counted_M2.sum(1),
    )
