"""How many requests an endpoint is asked at once: more while it keeps up, fewer when it says no or gets slow.

Additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989), with a slow start: requests double in a
round until the endpoint first complains.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

_LOG = logging.getLogger(__name__)
START = 8
"""Requests under way at first."""
BUSY = (429, 503)
"""Statuses by which a server says that it has too much to do."""
SLOW = 4.0
"""A round that takes so many times as long as the fastest one of its kind means that requests only wait in line."""
AFTER_NO, AFTER_SLOW = 0.5, 0.8
"""What is left of the level."""


class Level:
    """A bound on requests under way, between 1 and `most`, that threads share.

    A round is as many answers of one kind as requests are under way. A full one raises the level; a busy server, an
    attempt that ends without an answer, or a slow round lowers it, once for all requests that were under way together.

    Attributes:
        now: requests that may be under way.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.now = most, min(START, most)
        self._clock = clock
        self._changed = threading.Condition()
        self._under_way = self._cuts = 0
        self._is_starting, self._was_full = True, False
        self._round: dict[Hashable, list[float]] = defaultdict(list)
        self._fastest: dict[Hashable, float] = {}

    @contextmanager
    def attempt(self, kind: Hashable, ready: Callable[[], None] = lambda: None) -> Iterator[Callable[[int], None]]:
        """Wait for a place, keep it for one attempt, and learn from how it ends.

        Args:
            kind: attempts of one kind take about the same time.
            ready: called when there is a place; its time does not count.

        Yields:
            To be called with the status of the answer; an attempt without one lowers the level.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self.now)
            self._under_way += 1
            self._was_full |= self._under_way == self.now
            cuts, answered = self._cuts, list[int]()
        began = None
        try:
            ready()
            began = self._clock()
            yield answered.append
        finally:
            with self._changed:
                self._under_way -= 1
                if began is not None and (not answered or answered[0] in BUSY):
                    self._cut(cuts, AFTER_NO)
                elif began is not None and answered[0] < 300:
                    self._learn(kind, self._clock() - began, cuts)
                self._changed.notify_all()

    def _learn(self, kind: Hashable, seconds: float, cuts: int) -> None:
        taken = self._round[kind]
        taken.append(seconds)
        if len(taken) < self.now:
            return
        mean = sum(taken) / len(taken)
        taken.clear()
        fastest = self._fastest[kind] = min(mean, self._fastest.get(kind, mean))
        if not self._was_full:
            return
        if mean > SLOW * fastest:
            self._cut(cuts, AFTER_SLOW)
        elif self.now < self.most:
            self.now = min(self.most, self.now * 2 if self._is_starting else self.now + 1)
            self._was_full = False
            _LOG.debug("%d requests at once", self.now)

    def _cut(self, cuts: int, left: float) -> None:
        """Lower the level, unless that was done since the attempt began, when there were `cuts`."""
        if cuts != self._cuts:
            return
        self.now, self._cuts, self._is_starting = max(1, int(self.now * left)), cuts + 1, False
        self._round.clear()
        _LOG.info("the endpoint cannot keep up; from here on %d requests at once", self.now)
