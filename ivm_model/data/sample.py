"""Which rows of a stream are kept in memory: those that stage I learns from, and those that validate."""

from __future__ import annotations

import numpy as np

from ivm_model.data.dataset import TrainingRows, check_held_back
from ivm_model.data.row_reader import RowReader
from ivm_model.data.shard_index import ShardIndex


def stage_one_rows(reader: RowReader, human: int, machine: int) -> tuple[TrainingRows, dict[str, str]]:
    """The readable rows of a bounded choice, and by sample id why others of it cannot be read.

    Args:
        human, machine: most rows of each origin.
    """
    index = reader.index
    chosen_N = np.concatenate([balanced(index, index.human, human), balanced(index, index.machine, machine)])
    rows, problems = reader.rows(np.sort(chosen_N), decode=True)
    rows.sort(key=lambda row: row.sample_id)
    return TrainingRows(
        *(tuple(row for row in rows if row.origin == origin) for origin in ("human", "machine"))
    ), problems


def balanced(index: ShardIndex, index_N: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of some rows, as many of each source as of any other that has so many.

    Within a source it is an even choice in the order of the sample ids, which are hashes: the same for the same rows.
    """
    source_N, id_N = index.words("source")[index_N], index.words("sample_id")[index_N]
    by_source = {source: index_N[source_N == source][np.argsort(id_N[source_N == source])] for source in set(source_N)}
    chosen, left = [], limit
    for done, (_, mine) in enumerate(sorted(by_source.items(), key=lambda item: (len(item[1]), item[0]))):
        share = min(len(mine), left // (len(by_source) - done))
        chosen.append(mine[np.linspace(0, len(mine) - 1, share).astype(np.int64)])
        left -= share
    return np.concatenate(chosen) if chosen else index_N


def hold_back(index: ShardIndex, share: float, limit: int) -> tuple[ShardIndex, np.ndarray]:
    """As `dataset.hold_back` for an index: an image's hash decides, and where more than `limit` human rows would be
    held back, only those of the first images by their hashes are.

    Returns:
        The index without the images that validate, and the human rows of these in the given index.

    Raises:
        ConfigError: no human row is held back, or none is left.
    """
    sha_K, human_H = index.words("image_sha"), index.human
    hash_H = np.array([int(sha[-16:], 16) for sha in sha_K[human_H]], object)
    order_H = np.argsort(hash_H, kind="stable")[: np.count_nonzero(hash_H < share * 2**64)]
    held_V = np.sort(human_H[order_H[:limit]])
    kept_K = ~np.isin(sha_K, sha_K[held_V])
    check_held_back(int((kept_K & index.human_K).sum()), len(held_V), share)
    return index.where(kept_K), held_V
