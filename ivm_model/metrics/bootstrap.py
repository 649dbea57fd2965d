"""95 % percentile bootstrap intervals (Efron and Tibshirani, 1993, chapter 13), over whatever is independent.

Rows about one image share its difficulty: there the image is the unit that is drawn, and all its rows come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000

Units = int | np.ndarray
"""What is drawn: so many rows, each alone; or the unit of each row as a number from 0, whose rows stay together."""


def draws(*axes: Units, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
    """Row indices of resamples: as many units as there are, drawn with replacement, for each axis on its own."""
    rng = np.random.default_rng(seed)
    rows_of = [None if isinstance(units, int) else _rows_of(units) for units in axes]
    counts = [units if isinstance(units, int) else int(units.max()) + 1 for units in axes]
    for _ in range(resamples):
        drawn = [rng.integers(count, size=count) for count in counts]
        yield tuple(
            units if rows is None else np.concatenate([rows[unit] for unit in units])
            for units, rows in zip(drawn, rows_of, strict=True)
        )


def count_draws(units: int, resamples: int = RESAMPLES, seed: int = 0, chunk: int = 100) -> Iterator[np.ndarray]:
    """The same for statistics of sums over units: how often each is in a resample, (chunk, units) at a time."""
    rng, even = np.random.default_rng(seed), np.full(units, 1 / units)
    for _ in range(resamples // chunk):
        yield rng.multinomial(units, even, size=chunk)


def interval(
    statistic: Callable[..., float], *axes: Units, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The interval of a statistic.

    Args:
        statistic: row indices of a resample, an array for each axis -> its value.
        axes: what is drawn along each axis.
    """
    return percentile([statistic(*rows) for rows in draws(*axes, resamples=resamples, seed=seed)])


def percentile(drawn: np.ndarray | list[float]) -> tuple[float, float]:
    """The middle `CONFIDENCE` of the values of resamples; where a value is not defined, NaN, it is left out.

    Returns:
        (NaN, NaN) where none is defined.
    """
    known_R = np.asarray(drawn, float)
    known_R = known_R[~np.isnan(known_R)]
    if not len(known_R):
        return float("nan"), float("nan")
    low, high = np.quantile(known_R, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _rows_of(unit_N: np.ndarray) -> list[np.ndarray]:
    """The rows of each unit."""
    rows_N = np.argsort(unit_N, kind="stable")
    return np.split(rows_N, np.cumsum(np.bincount(unit_N))[:-1])
