"""What every flow shares: which failures are tried again, how many tasks are under way, how a run starts another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.deployments import run_deployment
from prefect.futures import PrefectFuture, as_completed
from prefect.utilities.annotations import quote

from storage.errors import TransientError

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

RETRY_DELAYS = (1.0, 10.0, 60.0)
"""Seconds before each retry, each up to half longer, so that tasks that failed together do not come back together."""


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: only a failure that may pass."""
    return isinstance(state.data, TransientError)


def retried(task_run_name: str) -> Callable[[Callable[Parameters, Result]], Task[Parameters, Result]]:
    """Make a task of a function that is safe to run again: what it made lies on disk, so no result is kept."""
    return task(
        task_run_name=task_run_name,
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=list(RETRY_DELAYS),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def in_flight(
    task: Task[..., Result], shared: Any, items: Iterable[Item], limit: int
) -> Iterator[tuple[Item, PrefectFuture[Result]]]:
    """Run `task(shared, item)` for every item, at most `limit` at a time, and yield each as it finishes.

    A data set has thousands of parts: Prefect hears of a task only when there is room to run it. `shared` is quoted,
    because Prefect would otherwise search it for futures at every call.

    Yields:
        (item, its finished future); a failed task does not stop the others. Closed early it waits for those under way.
    """
    waiting, running = iter(items), {}
    for item in islice(waiting, limit):
        running[task.submit(quote(shared), item)] = item
    try:
        while running:
            future = next(as_completed(list(running)))
            finished = running.pop(future)
            for item in islice(waiting, 1):
                running[task.submit(quote(shared), item)] = item
            yield finished, future
    finally:
        for future in running:
            future.wait()


def start_once(deployment: str, parameters: Mapping[str, Any], key: str) -> FlowRun:
    """Start a run of a deployment and do not wait for it. The server makes one run for a key, however many ask.

    Returns:
        The run, which may have started, or ended, long ago.
    """
    # As no subflow: it goes on when this run is cancelled.
    started = run_deployment(deployment, parameters=dict(parameters), timeout=0, as_subflow=False, idempotency_key=key)
    return cast("FlowRun", started)
