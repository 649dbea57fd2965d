"""What LMM endpoints were asked: counted where an answer arrives, for the caller's block that wants the count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple, dataclass
from operator import add


@dataclass(frozen=True)
class Usage:
    """What was asked of a server: answered requests and the tokens it counted; and of experts here.

    Attributes:
        answers_read: that the store of answers had.
        answers_asked: that it had not, so that the expert was asked.
        tiles: parts of large pictures that experts were asked about beside the whole ones.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answers_read: int = 0
    answers_asked: int = 0
    tiles: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(add, astuple(self), astuple(other)))


class Meter:
    """A sum of usage that threads may add to."""

    def __init__(self) -> None:
        self.used = Usage()
        self._lock = threading.Lock()

    def add(self, used: Usage) -> None:
        """Count some more."""
        with self._lock:
            self.used += used


_counting: ContextVar[Meter | None] = ContextVar("counting", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what is asked within this block, by this thread and by those that run in copies of its context."""
    meter = Meter()
    token = _counting.set(meter)
    try:
        yield meter
    finally:
        _counting.reset(token)


def count_usage(used: Usage) -> None:
    """Add to the meter of the block that this runs in, if there is one."""
    if meter := _counting.get():
        meter.add(used)
