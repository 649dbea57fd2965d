"""The numbers of the report, asked from the catalog for one recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from storage.catalog import Catalog
from storage.overlap import RIGHT_IOU
from storage.records import REASONS

FactRow = dict[str, Any]

GROUPS = ("kind", "difficulty", "source")
"""Columns that the labels are broken down by."""

_COUNTS = """
    count(*) AS inputs,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'review') AS review,
    count(*) FILTER (status = 'rejected') AS rejected,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (outcome = 'rejection') AS rejections,
    count(*) FILTER (status = 'accepted') / count(*) AS coverage,
    count(*) FILTER (known) AS known,
    count(*) FILTER (known AND has_mask) AS known_masks,
    count(*) FILTER (known AND status = 'accepted') AS known_accepted,
    avg(is_right::INT) FILTER (known AND has_mask) AS precision_all,
    avg(is_right::INT) FILTER (known AND status = 'accepted') AS precision_accepted,
    avg(is_right::INT) FILTER (known AND status = 'no_target') AS precision_no_target,
    avg(human_iou) FILTER (known AND has_mask) AS iou_all,
    avg(human_iou) FILTER (known AND status = 'accepted') AS iou_accepted
"""


class Facts:
    """Answers about one recipe. A label is *known* where a human mask can judge it, and *right* from IoU 0.5.

    Attributes:
        held_out: only held-out human masks judge, because others may have trained or calibrated the gate; false
            where the data set has no held-out mask, so that all of them judge.
    """

    def __init__(self, catalog: Catalog, recipe: str) -> None:
        self.catalog, self.recipe, self.held_out = catalog, recipe, False
        self.held_out = bool(self._ask("SELECT count(*) AS n FROM judged WHERE held_out AND known")[0]["n"])

    def totals(self) -> FactRow:
        """Counts, coverage, precision with a 95 % interval, and mean IoU over all inputs."""
        (row,) = self._ask(f"SELECT {_COUNTS}, count(DISTINCT part) AS parts FROM judged")
        return row | {"interval": _wilson(row["precision_accepted"], row["known_accepted"])}

    def by(self, column: str) -> list[FactRow]:
        """The same for each value of a column of `GROUPS`, most frequent first; none where the column is unused."""
        rows = self._ask(f"SELECT {column} AS name, {_COUNTS} FROM judged GROUP BY 1 ORDER BY inputs DESC, 1")
        return [row for row in rows if row["name"] or len(rows) > 1]

    def reasons(self) -> list[FactRow]:
        """Why inputs ended where they did: fate, stage, reason, its meaning, count, and the first examples."""
        rows = self._ask("""
            SELECT fate, coalesce(stage, 'gate') AS stage, reason, count(*) AS inputs, arg_min(
                {'instruction': instruction, 'detail': detail, 'image_uri': image_uri}, (part, position), 3
            ) AS examples
            FROM (SELECT *, coalesce(status, 'rejection') AS fate FROM judged)
            GROUP BY 1, 2, 3 ORDER BY any_value(outcome) DESC, inputs DESC, reason, 2""")
        return [row | {"meaning": REASONS.get(row["reason"], "")} for row in rows]

    def ranking(self, score: str) -> np.ndarray:
        """(N,) bool: is the mask right, for the known masks from the highest score down; ties by sample id."""
        rows = self.catalog.sql(
            f"{self._judged()} SELECT is_right FROM judged WHERE known AND has_mask AND {score} IS NOT NULL "
            f"ORDER BY {score} DESC, sample_id",
            recipe=self.recipe,
        )
        return rows["is_right"].to_numpy().astype(bool)

    def named(self, query: str, **parameters: Any) -> list[FactRow]:
        """The rows of a named query of the catalog, for this recipe."""
        return self.catalog.query(query, recipe=self.recipe, **parameters).to_pylist()

    def _ask(self, sql: str) -> list[FactRow]:
        return self.catalog.sql(f"{self._judged()} {sql}", recipe=self.recipe).to_pylist()

    def _judged(self) -> str:
        known = "outcome = 'label' AND human_iou IS NOT NULL" + (" AND held_out" if self.held_out else "")
        columns = f"{known} AS known, len(proposals) > 0 AS has_mask, human_iou >= {RIGHT_IOU} AS is_right"
        return f"""
            WITH judged AS (
                SELECT * REPLACE ({_or_unknown("kind")}, {_or_unknown("difficulty")}), {columns}
                FROM outcomes WHERE recipe = $recipe
            )"""


def _or_unknown(column: str) -> str:
    """A failed input's word, 'unknown' where it has none and its source has such words; as `acceptance_by_kind`."""
    used = f"source IN (SELECT DISTINCT source FROM outcomes WHERE recipe = $recipe AND {column} <> '')"
    return f"CASE WHEN outcome = 'rejection' AND {column} = '' AND {used} THEN 'unknown' ELSE {column} END AS {column}"


def _wilson(share: float | None, count: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    if share is None:
        return None
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
