"""Feed a target many inputs and count what becomes of them: read, refused, or one of what must never happen."""

from __future__ import annotations

import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from storage.errors import IvmError

GOOD = ("read", "refused")
NEVER = ("traceback", "hang", "memory", "crash")
"""An error that the engine does not know, an input that takes more CPU than `SECONDS` or waits `WAITS` times as long,
one that costs more than `MIB` of memory, and a process that died."""

SECONDS, WAITS = 20.0, 10
MIB = 512
_SHOWN = 3


@dataclass(frozen=True)
class Target:
    """Something that takes input from outside.

    Attributes:
        inputs: hostile input, of any type that `run` takes.
        good: an input that is read; it also loads whatever the first input would.
        run: read an input, in a folder of its own; an assertion in it is an outcome like any other error.
        refused: what it may raise.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    good: Any
    run: Callable[[Any, Path], object]
    refused: tuple[type[Exception], ...] = (IvmError,)


@dataclass
class Result:
    """How often each outcome was seen, and the first inputs that must not be."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class HangError(BaseException):
    """Took too long; nothing that catches Exception catches it."""


def fuzz(target: Target, folder: Path, examples: int, number: int = 0, seconds: float | None = None) -> Result:
    """Run a target over `examples` inputs, the same ones for the same number.

    Args:
        seconds: of CPU that an input may take, by SIGPROF, and `WAITS` times as long by the clock, by SIGALRM, so that
            a busy machine makes no hang; None leaves time to the caller.
    """
    target.run(target.good, folder)
    result = Result()

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def run(given_input: Any) -> None:
        kind, why = _outcome(target, given_input, folder, seconds)
        result.counts[kind] += 1
        if kind in NEVER and len(result.failures) < _SHOWN:
            result.failures.append(f"{kind}: {given_input!r:.2000}\n{why}")

    run()
    return result


def _outcome(target: Target, given_input: Any, folder: Path, seconds: float | None) -> tuple[str, str]:
    _forget_peak()
    before, kind, why = _peak_mib(), "read", ""
    try:
        with _alarm(seconds):
            target.run(given_input, folder)
    except target.refused as error:
        kind, why = "refused", str(error)
    except HangError:
        kind = "hang"
    except MemoryError:
        kind = "memory"
    except Exception:
        kind, why = "traceback", traceback.format_exc(limit=-6)
    grown = _peak_mib() - before
    return ("memory", f"{grown:.0f} MiB") if grown > MIB else (kind, why)


def _forget_peak() -> None:
    """Let the kernel's mark of the most memory begin anew; only Linux can, elsewhere it stays."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    """Most memory of this process since the mark began."""
    try:
        (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(line.split()[1]) / 1024


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return

    def ring(*_: object) -> None:
        raise HangError

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, WAITS * seconds)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, after in timers.values():
        signal.setitimer(timer, after)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
