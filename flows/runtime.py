"""What every flow shares: which failures are tried again, and how many tasks are under way at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.utilities.annotations import quote

from storage.errors import TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3
RETRY_DELAY_SECONDS = [5.0, 30.0, 120.0]
"""Wait before each retry; a task adds its own jitter."""


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: only a failure that may pass."""
    return isinstance(state.data, TransientError)


def in_flight(
    task: Task[..., Result], shared: Any, items: Iterable[Item], limit: int
) -> Iterator[tuple[Item, PrefectFuture[Result]]]:
    """Run `task(shared, item)` for every item, at most `limit` at a time, and yield each as it finishes.

    A data set has thousands of parts: Prefect hears of a task only when there is room to run it. `shared` is quoted,
    because Prefect would otherwise search it for futures at every call.

    Yields:
        (item, its finished future); a failed task does not stop the others.
    """
    waiting, running = iter(items), {}
    for item in islice(waiting, limit):
        running[task.submit(quote(shared), item)] = item
    while running:
        future = next(as_completed(list(running)))
        finished = running.pop(future)
        for item in islice(waiting, 1):
            running[task.submit(quote(shared), item)] = item
        yield finished, future
