"""Even choices of some rows out of many: the same for the same rows, whatever their order."""

from __future__ import annotations

import numpy as np


def evenly(index_N: np.ndarray, id_K: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of some rows, every n-th in the order of their ids, ascending.

    Args:
        index_N: rows to choose from.
        id_K: the id of every row, by index; ids are hashes, so that their order says nothing.
    """
    if len(index_N) <= limit:
        return index_N
    ordered_N = index_N[np.argsort(id_K[index_N])]
    return np.sort(ordered_N[np.linspace(0, len(ordered_N) - 1, max(0, limit)).astype(np.int64)])


def balanced(index_N: np.ndarray, id_K: np.ndarray, source_K: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of some rows, as many of each source as of any other that has so many; `evenly` within each."""
    source_N = source_K[index_N]
    by_source = {source: index_N[source_N == source] for source in set(source_N)}
    chosen, left = [index_N[:0]], limit
    for done, (_, mine) in enumerate(sorted(by_source.items(), key=lambda item: (len(item[1]), item[0]))):
        chosen.append(evenly(mine, id_K, min(len(mine), left // (len(by_source) - done))))
        left -= len(chosen[-1])
    return np.sort(np.concatenate(chosen))
