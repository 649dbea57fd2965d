"""What a judge said of labels, found by part and id: a gate that stands on a judge looks it up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.parts.files import readable


class Opinions:
    """A judge's opinions of the labels of one recipe, read when they are first asked for.

    An opinion is of a row of a part: where a pair was labeled again, that of its earlier row does not count.

    Args:
        files: of kind `weights`, of this judge alone; each is named as the part whose rows it is about.
        recipe: hash of the recipe.
    """

    def __init__(self, files: Sequence[Path], recipe: str) -> None:
        self._files, self._recipe = tuple(files), recipe

    def of(self, rows: pa.Table) -> np.ndarray:
        """P(right) of N labels, float64 (N,), NaN where the judge did not see one.

        Args:
            rows: with `part` and `sample_id`.

        Raises:
            ShardError: a file is damaged or gone.
        """
        known, d_K = self._known
        keys = pa.array(list(map(_key, rows["part"].to_pylist(), rows["sample_id"].to_pylist())), pa.string())
        index_N = _index(keys, known)
        d_N: np.ndarray = np.append(d_K, np.nan)[index_N]
        return d_N

    @cached_property
    def _known(self) -> tuple[pa.Array, np.ndarray]:
        keys, found = list[str](), list[float]()
        for path in self._files:
            with readable(path):
                table = pq.read_table(path, columns=["sample_id", "recipe", "d"], partitioning=None)
            rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
            mine = [(sample_id, d) for sample_id, recipe, d in rows if recipe == self._recipe]
            keys += [_key(path.stem, sample_id) for sample_id, _ in mine]
            found += [d for _, d in mine]
        return pa.array(keys, pa.string()), np.array(found, float)


def _key(part: str, sample_id: str) -> str:
    return f"{part}/{sample_id}"


def _index(keys: pa.Array, known: pa.Array) -> np.ndarray:
    """Where each key is among the known ones; behind the last for one that is not."""
    import pyarrow.compute as pc

    index_N: np.ndarray = pc.index_in(keys, value_set=known).fill_null(len(known)).to_numpy(zero_copy_only=False)
    return index_N
