"""The numbers of the report, asked from the catalog for one recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from storage.catalog import Catalog
from storage.pixels.overlap import RIGHT_IOU
from storage.records import REASONS
from storage.sql_files import fill, load

FactRow = dict[str, Any]

GROUPS = ("kind", "difficulty", "source")
"""Columns that the labels are broken down by."""

_SQL = load("ivm_data.report", "sql")


class Facts:
    """Answers about one recipe. A label is *known* where a human mask can judge it, and *right* from IoU 0.5.

    Attributes:
        held_out: only held-out human masks judge, because others may have trained or calibrated the gate; false
            where the data set has no held-out mask, so that all of them judge.
    """

    def __init__(self, catalog: Catalog, recipe: str) -> None:
        self.catalog, self.recipe, self.held_out = catalog, recipe, False
        self.held_out = bool(self._ask("known_held_out")[0]["n"])

    def totals(self) -> FactRow:
        """Counts, coverage, precision with a 95 % interval, and mean IoU over all inputs."""
        (row,) = self._ask("totals")
        return row | {"interval": _wilson(row["precision_accepted"], row["known_accepted"])}

    def by(self, column: str) -> list[FactRow]:
        """The same for each value of a column of `GROUPS`, most frequent first; none where the column is unused."""
        rows = self._ask("groups", column=column)
        return [row for row in rows if row["name"] or len(rows) > 1]

    def reasons(self) -> list[FactRow]:
        """Why inputs ended where they did: fate, stage, reason, its meaning, count, and the first examples."""
        return [row | {"meaning": REASONS.get(row["reason"], "")} for row in self._ask("reasons")]

    def ranking(self, score: str) -> np.ndarray:
        """(N,) bool: is the mask right, for the known masks from the highest score down; ties by sample id."""
        return np.array([row["is_right"] for row in self._ask("ranking", score=score)], bool)

    def named(self, query: str, **parameters: Any) -> list[FactRow]:
        """The rows of a named query of the catalog, for this recipe."""
        rows: list[FactRow] = self.catalog.query(query, recipe=self.recipe, **parameters).to_pylist()
        return rows

    def _ask(self, name: str, **words: str) -> list[FactRow]:
        """The rows of a file of `sql`, with columns in the places of its words."""
        rows = self.catalog.sql(fill(_SQL[name], words), recipe=self.recipe, held_out=self.held_out, right=RIGHT_IOU)
        found: list[FactRow] = rows.to_pylist()
        return found


def _wilson(share: float | None, count: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    if share is None:
        return None
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
