"""Quality before anybody fitted it: how far experts that do not know of each other say the same. No probability.

One LMM's raw P(yes) is not enough: it rewrites, verifies and errs in one. Computed three ways, as
`storage.gates.logistic` is: for one label, for many at once, and in SQL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from storage.gates.logistic import number
from storage.records import Scores

INDEPENDENT = ("grounding", "candidate", "agreement")
"""What grounder, LMM and further proposers say of a mask; where one of them says nothing, `verification` counts too.
Of a frame of an episode, `consistency` counts beside them where it is known."""

SLACK = 1e-6
"""How far rounding may bring a probability out of [0, 1]; what lies farther out is none."""


def quality(scores: Scores, absent: bool) -> float:
    """In [0, 1]: the geometric mean of what is known of `INDEPENDENT`; absent: of how little LMM, grounder and further
    proposers see of the target, and of the consistency. NaN where nothing is known, or a score is no probability."""
    about = ("presence", "grounding", "agreement") if absent else (*INDEPENDENT, "verification")
    columns = {name: np.array([getattr(scores, name)], float) for name in (*about, "consistency")}
    return float(qualities(columns, np.array([absent]))[0])


def qualities(columns: Mapping[str, np.ndarray], absent_N: np.ndarray) -> np.ndarray:
    """The same of N labels, float64 (N,).

    Args:
        columns: scores by name, float64 (N,), NaN where missing.
        absent_N: whether a label says that there is no target, bool (N,).
    """
    quality_N = np.full(len(absent_N), np.nan)
    if absent_N.any():
        against = [1 - columns[name][absent_N] for name in ("presence", "grounding")]
        quality_N[absent_N] = _mean([*against, columns["agreement"][absent_N], columns["consistency"][absent_N]])
    if not absent_N.all():
        said = [columns[name][~absent_N] for name in INDEPENDENT]
        silent_M = np.isnan(np.stack(said)).any(axis=0)
        verification_M = np.where(silent_M, columns["verification"][~absent_N], np.nan)
        quality_N[~absent_N] = _mean([*said, verification_M, columns["consistency"][~absent_N]])
    return quality_N


def sql() -> str:
    """The same as an SQL expression over the columns of its scores; NULL where that is NaN."""
    silent = " OR ".join(f"NOT {_known(name)}" for name in INDEPENDENT)
    of_mask = _mean_sql([*INDEPENDENT, f"(CASE WHEN {silent} THEN verification END)", "consistency"])
    absent = _mean_sql(["(1 - presence)", "(1 - grounding)", "agreement", "consistency"])
    return f"CASE WHEN area = 0 THEN {absent} ELSE {of_mask} END"


def _mean(scores: list[np.ndarray]) -> np.ndarray:
    score_SN = np.stack(scores)
    known_SN = ~np.isnan(score_SN)
    with np.errstate(all="ignore"):
        fine_N = (~known_SN | ((score_SN >= -SLACK) & (score_SN <= 1 + SLACK))).all(axis=0) & known_SN.any(axis=0)
        product_N = np.where(known_SN, np.clip(score_SN, 0, 1), 1.0).prod(axis=0)
        return np.where(fine_N, product_N ** (1 / known_SN.sum(axis=0)), math.nan)


def _mean_sql(scores: list[str]) -> str:
    zero, one, low, high = map(number, (0, 1, -SLACK, 1 + SLACK))
    product = " * ".join(
        f"CASE WHEN {_known(score)} THEN least(greatest({score}, {zero}), {one}) ELSE {one} END" for score in scores
    )
    count = " + ".join(f"CASE WHEN {_known(score)} THEN 1 ELSE 0 END" for score in scores)
    fine = " AND ".join(f"(NOT {_known(score)} OR {score} BETWEEN {low} AND {high})" for score in scores)
    return f"CASE WHEN ({count}) > 0 AND {fine} THEN pow({product}, {one} / ({count})) END"


def _known(score: str) -> str:
    return f"({score} IS NOT NULL AND NOT isnan({score}))"
