"""The numbers of the report, asked from the catalog for one recipe."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import binomtest

from storage.catalog import Catalog
from storage.common.sql_files import fill, load
from storage.pixels.overlap import RIGHT_IOU
from storage.records import REASONS

FactRow = dict[str, Any]

GROUPS = ("kind", "difficulty", "source")
"""Columns that the labels are broken down by."""

RANKED = ("quality", "verification")
"""Scores that rank masks."""

_SQL = load("ivm_data.report", "sql")


class Facts:
    """Answers about one recipe. A label is *known* where a human mask can judge it, and *right* from IoU 0.5.

    Attributes:
        held_out: only held-out human masks judge, because others may have trained or calibrated the gate; false
            where the data set has no held-out mask, so that all of them judge.
        exact: all known masks are of drawn worlds (`ivm world`), so that no person made them.
    """

    def __init__(self, catalog: Catalog, recipe: str) -> None:
        self.catalog, self.recipe, self.held_out = catalog, recipe, False
        self.held_out = bool(self._ask("known_held_out")["n"][0].as_py())
        self.exact = bool(self._ask("known_exact")["exact"][0].as_py())

    def totals(self) -> FactRow:
        """Counts, coverage, precision with a 95 % interval, and mean IoU over all inputs, and the number of parts."""
        (row,) = (row for row in self._groups if row["grouped"] == "all")
        parts: FactRow = self.catalog.sql(_SQL["parts"], recipe=self.recipe).to_pylist()[0]
        return row | parts | {"interval": _wilson(row["precision_accepted"], row["known_accepted"])}

    def by(self, column: str) -> list[FactRow]:
        """The same for each value of a column of `GROUPS`, most frequent first; none where the column is unused."""
        rows = [row for row in self._groups if row["grouped"] == column]
        return [row for row in rows if row["name"] or len(rows) > 1]

    def reasons(self) -> list[FactRow]:
        """Why inputs ended where they did: fate, stage, reason, its meaning, count, and the first examples."""
        return [row | {"meaning": REASONS.get(row["reason"], "")} for row in self._ask("reasons").to_pylist()]

    def ranking(self, score: str) -> np.ndarray:
        """(N,) bool: is the mask right, for the known masks from the highest score down; ties by sample id.

        Args:
            score: of `RANKED`.
        """
        ranked = self._ranking.filter(self._ranking[score].is_valid())
        ranked = ranked.sort_by([(score, "descending"), ("sample_id", "ascending")])
        return np.array(ranked["is_right"], bool)

    def named(self, query: str, **parameters: Any) -> list[FactRow]:
        """The rows of a named query of the catalog, for this recipe."""
        rows: list[FactRow] = self.catalog.query(query, recipe=self.recipe, **parameters).to_pylist()
        return rows

    @cached_property
    def _groups(self) -> list[FactRow]:
        found: list[FactRow] = self._ask("groups").to_pylist()
        return found

    @cached_property
    def _ranking(self) -> pa.Table:
        return self._ask("ranking", scores=", ".join(RANKED))

    def _ask(self, name: str, **words: str) -> pa.Table:
        """The rows of a file of `sql`, with columns in the places of its words."""
        return self.catalog.sql(fill(_SQL[name], words), recipe=self.recipe, held_out=self.held_out, right=RIGHT_IOU)


def _wilson(share: float | None, count: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    if share is None:
        return None
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
