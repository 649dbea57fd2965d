"""How fast a person reviews."""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise

BREAK = 120.0
"""Seconds after which a pause is a break, and counts as this long only."""

_KEPT = 100
"""Times that are kept: the pace is that of late."""


class Pace:
    """Counts verdicts and the time that they took, breaks left out."""

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    def add(self, count: int = 1, at: float | None = None) -> None:
        """Some verdicts are given at once.

        Args:
            at: monotonic seconds; now by default.
        """
        self._done.append((time.monotonic() if at is None else at, count))

    @property
    def seconds(self) -> float | None:
        """For one verdict; None before there are three."""
        if len(self._done) < 3:
            return None
        times = [at for at, _ in self._done]
        spent = sum(min(after - before, BREAK) for before, after in pairwise(times))
        return spent / max(1, sum(count for _, count in list(self._done)[1:]))
