"""Which labels judge a gate: those whose verdict is known and that were drawn at random.

These count as drawn at random, and nothing else does:

- human masks that are held out: nothing is calibrated or trained on them, and a source's stand for its labels;
- reviews in random order (`ivm review --order random`): of all labels; of one source or kind, where the promise is by
  that; or of those above a quality, for thresholds above it, as long as the quality is the same. Who is unsure, or
  finds the instruction wrong, does not call the label right; where several people reviewed it, all must.

Other human masks teach the calibration, and so do reviews in informative order or of an order that nobody wrote down:
what teaches does not judge. Such labels could not be drawn any more, and count as what they were found to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ivm_data.quality.promise import Judged, Promise, Wish, promise
from storage.catalog import Catalog
from storage.common.sql_files import load
from storage.data_set import DataSet
from storage.gates.gate import By, Gate

SQL = load("ivm_data.quality", "sql/promise")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Labels that a threshold may accept, and the verdicts on some of them, by a gate's quality.

    Attributes:
        quality_N: of each label.
        group_N: its value of what the promise is by; "" where it is by nothing.
        judged: positions of the labels with a verdict.
        right_J, above_J: the verdicts, and the quality above which each was drawn.
        seen, right_K: positions of the labels that were judged without being drawn, and their verdicts.
    """

    quality_N: np.ndarray
    group_N: np.ndarray
    judged: np.ndarray
    right_J: np.ndarray
    above_J: np.ndarray
    seen: np.ndarray
    right_K: np.ndarray

    @property
    def groups(self) -> list[str]:
        """The values, sorted."""
        return sorted(set(self.group_N.tolist()))

    def promise(self, group: str, wish: Wish) -> Promise:
        """What can be promised of one group."""
        inside_J = self.group_N[self.judged] == group
        quality_J = self.quality_N[self.judged][inside_J]
        inside_K = self.group_N[self.seen] == group
        seen = self.quality_N[self.seen][inside_K], ~self.right_K[inside_K]
        judged = Judged(quality_J, ~self.right_J[inside_J], self.above_J[inside_J], *seen)
        return promise(self.quality_N[self.group_N == group], judged, wish)


def evidence(data: DataSet, gate: Gate, by: By) -> Evidence:
    """Read it; cleaning's exclusions are left out.

    Args:
        data: decided by `gate` or another gate; its own does not matter.
    """
    with Catalog(data) as catalog:
        rows = catalog.sql(SQL["labels"], recipe=gate.recipe).to_pylist()
        reviews = catalog.sql(SQL["reviews"], recipe=gate.recipe).to_pylist()
    drawn, otherwise = dict[str, tuple[bool, float]](), dict[str, bool]()
    for review in reviews:
        name, right = review["sample_id"], review["is_right"]
        if _counts(review, gate, by):
            before, above = drawn.get(name, (True, 0.0))
            drawn[name] = (before and right, max(above, review["above"]))
        else:
            otherwise[name] = otherwise.get(name, True) and right
    human = [row for row in rows if row["is_right"] is not None]
    drawn |= {row["sample_id"]: (row["is_right"], 0.0) for row in human if row["held_out"]}
    otherwise |= {row["sample_id"]: row["is_right"] for row in human}
    aside = otherwise.keys() - drawn.keys()
    judged = [i for i, row in enumerate(rows) if row["sample_id"] in drawn]
    seen = [i for i, row in enumerate(rows) if row["sample_id"] in aside]
    verdicts = [drawn[rows[i]["sample_id"]] for i in judged]
    return Evidence(
        np.array([row["quality"] for row in rows], float),
        np.array([row[by] if by else "" for row in rows], object),
        np.array(judged, int),
        np.array([right for right, _ in verdicts], bool),
        np.array([above for _, above in verdicts], float),
        np.array(seen, int),
        np.array([otherwise[rows[i]["sample_id"]] for i in seen], bool),
    )


def _counts(review: dict[str, Any], gate: Gate, by: By) -> bool:
    """Whether a review is a draw from a group of the promise."""
    if not review["is_random"]:
        return False
    filters = {name for name in ("source", "kind") if review[name]}
    return filters <= {by} and (review["above"] <= 0 or review["quality"] == gate.quality_hash)
