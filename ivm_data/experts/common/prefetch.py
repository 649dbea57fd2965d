"""Work done in threads before it is needed: decoding and preprocessing, while a model computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(8, os.cpu_count() or 1)
"""Enough to preprocess images for one accelerator."""


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], depth: int, threads: int = 1
) -> Generator[Result, None, None]:
    """`work(item)` for each item, in order, computed in threads while the caller is busy with earlier results.

    An error of `work` is raised where its result would have come. The threads end with the generator: give it to
    `contextlib.closing` where the caller may stop early.

    Args:
        depth: results that may wait or be under way beyond the one that the caller has.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
