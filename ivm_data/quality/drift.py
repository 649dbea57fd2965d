"""Drift between two snapshots: how far the distribution of each score, of the statuses and of the sources moved.

PSI = sum over bins of (q - p) ln(q / p), the population stability index. Without drift it is not 0: its distribution is
then about chi-squared with bins - 1 degrees of freedom, times 1/n + 1/m (Yurdakul and Naranjo 2020, "Statistical
properties of the population stability index"). What exceeds the 99 % quantile of that is more than noise; 0.1 and 0.25
are the customary bounds of a moderate and a large shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from scipy.stats import chi2

from ivm_model.metrics.bootstrap import percentile
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.schema import SCORES

DriftVerdict = Literal["same", "noise", "small", "moderate", "large"]

BINS = 10
CONFIDENCE = 0.99
MODERATE, LARGE = 0.1, 0.25
RESAMPLES = 1000

_CATEGORIES = ("source", "status", "kind")


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one column moved.

    Attributes:
        psi: population stability index, 0 for equal shares.
        interval: its 95 % bootstrap interval.
        noise: what PSI stays below in 99 of 100 cases where nothing drifted.
    """

    what: str
    psi: float
    interval: tuple[float, float]
    noise: float
    verdict: DriftVerdict


def drift(data: Path, before: str, after: str) -> list[Drift]:
    """Every score, source, status and kind of the labels of two snapshots, farthest first."""
    columns = (*_CATEGORIES, *SCORES)
    query = f"SELECT {', '.join(columns)} FROM labels"
    with DataSet.open(data) as now:
        first, second = (_labels(now.at(snapshot=name), query) for name in (before, after))
    found = [compare(name, *_counts(first[name], second[name])) for name in columns]
    return sorted(found, key=lambda one: -one.psi)


def _labels(data: DataSet, query: str) -> pa.Table:
    with Catalog(data) as catalog:
        return catalog.sql(query)


def compare(what: str, before_B: np.ndarray, after_B: np.ndarray) -> Drift:
    """Drift between the counts of two samples in the same bins; each bin counts half an observation more.

    The half observation (Jeffreys' prior) keeps PSI finite where a bin is empty on one side.
    """
    used = before_B + after_B > 0
    p, q = before_B[used], after_B[used]
    if not p.sum() or not q.sum() or len(p) < 2:
        return Drift(what, 0.0, (0.0, 0.0), 0.0, "same")
    psi = float(_psi(p[None], q[None])[0])
    rng = np.random.default_rng(0)
    drawn = _psi(*(rng.multinomial(int(n.sum()), n / n.sum(), RESAMPLES) for n in (p, q)))
    noise = float(chi2.ppf(CONFIDENCE, len(p) - 1) * (1 / p.sum() + 1 / q.sum()))
    return Drift(what, psi, percentile(drawn), noise, _verdict(psi, noise))


def _psi(before_NB: np.ndarray, after_NB: np.ndarray) -> np.ndarray:
    p, q = before_NB + 0.5, after_NB + 0.5
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    psi_N: np.ndarray = ((q - p) * np.log(q / p)).sum(axis=1)
    return psi_N


def _verdict(psi: float, noise: float) -> DriftVerdict:
    if psi <= noise:
        return "noise"
    return "small" if psi < MODERATE else "moderate" if psi < LARGE else "large"


def _counts(before: pa.ChunkedArray, after: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Counts by value, or by tenths of the earlier sample; what is missing is a bin of its own."""
    if pa.types.is_string(before.type):
        old, new = (side.to_pylist() for side in (before, after))
        names = sorted({*old, *new}, key=str)
        return tuple(np.array([side.count(name) for name in names]) for side in (old, new))  # type: ignore[return-value]
    old_N, new_N = (side.to_numpy().astype(float) for side in (before, after))
    known = old_N[~np.isnan(old_N)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else np.array([0.5])
    return _histogram(old_N, edges), _histogram(new_N, edges)


def _histogram(values_N: np.ndarray, edges: np.ndarray) -> np.ndarray:
    known = values_N[~np.isnan(values_N)]
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return np.append(counts, len(values_N) - len(known))
