"""In which order rows are drawn: endless shuffled epochs, dealt to processes, the same whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np


def draws(epoch: Callable[[int], np.ndarray], count: int) -> Iterator[np.ndarray]:
    """An endless series of `count` indices each; epochs are joined, so that every row of one comes once.

    Args:
        epoch: the indices of an epoch by its number, in order, at least one; asked for in ascending order.
    """
    queue, number = np.zeros(0, np.int64), 0
    while True:
        while len(queue) < count:
            queue = np.concatenate([queue, epoch(number)])
            number += 1
        drawn, queue = np.split(queue, [count])
        yield drawn


def deal(draw: np.ndarray, batch: int, rank: int, world: int) -> list[np.ndarray]:
    """The batches that process `rank` of `world` takes of what all of them draw in one step."""
    return [draw[start : start + batch] for start in range(rank * batch, len(draw), world * batch)]


def by_groups(group_K: np.ndarray, buffer: int, rng: np.random.Generator) -> np.ndarray:
    """An order of K rows that reads few row groups at a time: groups are shuffled, and rows within `buffer` groups.

    Args:
        group_K: row group of each row.
    """
    _, group_K = np.unique(group_K, return_inverse=True)
    groups = int(group_K.max(initial=-1)) + 1
    buffer_G = np.empty(groups, np.int64)
    buffer_G[rng.permutation(groups)] = np.arange(groups) // buffer
    return np.lexsort((rng.random(len(group_K)), buffer_G[group_K]))


def repeats(times_K: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row comes in an epoch, int: 2.3 times is twice, or three times with probability 0.3."""
    whole_K = np.floor(times_K).astype(np.int64)
    count_K: np.ndarray = whole_K + (rng.random(len(times_K)) < times_K - whole_K)
    return count_K
