"""Single rows out of heavy files, a few row groups in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ivm_model.data.training_index import TrainingIndex
from ivm_model.data.training_rows import TrainingRow
from storage.errors import InputError, ShardError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Rle

_HEAVY = ["image_sha", "image", "height", "width", "mask", "human_mask"]
_WORDS = ("sample_id", "recipe", "source", "kind", "difficulty", "instruction", "image_sha")
UNREADABLE = (OSError, ValueError, InputError)
"""What reading a damaged row raises; a shard that changed raises ShardError, which no row is to blame for."""


class RowReader:
    """What the rows of an index hold.

    Args:
        buffer: row groups that are kept in memory.
    """

    def __init__(self, index: TrainingIndex, buffer: int) -> None:
        self.index, self.buffer = index, buffer
        self._files: dict[int, tuple[pq.ParquetFile, np.ndarray]] = {}
        self._groups: OrderedDict[tuple[int, int], _Group] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in their process; a worker opens its own.
        return self.__dict__ | {"_files": {}, "_groups": OrderedDict()}

    def example(self, k: int) -> tuple[bytes, Rle]:
        """The image file of a row, and the mask that it trains on.

        Raises:
            ValueError: its row group lacks the image.
            ShardError: the shard changed since the index was made, or cannot be read.
        """
        group, at = self._group(k)
        return group.image(at), self._mask(group, at, k)

    def row(self, k: int) -> TrainingRow:
        """A whole row; errors as of `example`."""
        group, at = self._group(k)
        split, mask = self.index.split_K[k], self._mask(group, at, k)
        human = split in ("human", "validation")
        truth = mask if split == "validation" else None
        if not human and self.index.facts["has_human"][k].as_py():
            truth = group.mask(at, "human_mask")
        return TrainingRow(
            **{name: self.index.facts[name][k].as_py() for name in _WORDS},
            origin="human" if human else "machine",
            image=group.image(at),
            mask=mask,
            truth=truth,
            machine_mask=group.mask(at, "mask") if human else None,
        )

    def stream(self, problems: dict[str, str]) -> Iterator[TrainingRow]:
        """Every readable row in order; `problems` takes, by sample id, why others cannot be read."""
        for k in range(len(self.index)):
            yield from self.rows([k], problems, decode=True)

    def rows(self, index_N: Iterable[int], problems: dict[str, str], *, decode: bool = False) -> list[TrainingRow]:
        """The readable ones of some rows.

        Args:
            problems: takes, by sample id, why others cannot be read.
            decode: also decode image and mask, to find those that are damaged.
        """
        good: list[TrainingRow] = []
        for k in map(int, index_N):
            try:
                row = self.row(k)
                if decode:
                    _check(row)
                good.append(row)
            except UNREADABLE as error:
                problems[self.index.facts["sample_id"][k].as_py()] = str(error) or repr(error)
        return good

    def _mask(self, group: _Group, at: int, k: int) -> Rle:
        found = self.index.reviewed.get(self.index.facts["sample_id"][k].as_py())
        if found is not None:
            return found.mask or group.mask(at, "mask")
        return group.mask(at, "human_mask" if self.index.split_K[k] in ("human", "validation") else "mask")

    def _group(self, k: int) -> tuple[_Group, int]:
        """The row group of a row, and its place there."""
        shard, row = int(self.index.shard_K[k]), int(self.index.row_K[k])
        file, starts = self._file(shard)
        number = int(np.searchsorted(starts, row, side="right")) - 1
        key = (shard, number)
        if key not in self._groups:
            self._groups[key] = _Group(file.read_row_group(number, columns=_HEAVY, use_threads=False))
        self._groups.move_to_end(key)
        while len(self._groups) > self.buffer:
            self._groups.popitem(last=False)
        return self._groups[key], row - int(starts[number])

    def _file(self, shard: int) -> tuple[pq.ParquetFile, np.ndarray]:
        """A file, and the first row of each of its row groups."""
        if shard not in self._files:
            expected = self.index.shards[shard]
            try:
                file = pq.ParquetFile(expected.path, memory_map=True)
            except (OSError, pa.ArrowException) as error:
                raise ShardError(f"'{expected.path}' cannot be read any more: {error}; label the part again") from error
            expected.check(file)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            self._files[shard] = (file, np.cumsum([0, *sizes])[:-1])
        return self._files[shard]


def _check(row: TrainingRow) -> None:
    """Decode a row's image and mask.

    Raises:
        OSError, ValueError: one of them cannot be read, or they differ in size.
    """
    height, width = decode(row.image).shape[:2]
    if rle.decode(row.mask).shape != (height, width):
        raise ValueError(f"a mask of {row.mask.width}x{row.mask.height} on an image of {width}x{height}")


class _Group:
    """A heavy row group in memory; a repeated image's bytes lie with its first row."""

    def __init__(self, table: pa.Table) -> None:
        self._columns: dict[str, Any] = {name: table[name].combine_chunks() for name in table.column_names}
        self._names = table["image_sha"].to_pylist()
        valid = self._columns["image"].is_valid().to_pylist()
        self._image_row = {name: row for row, name in enumerate(self._names) if valid[row]}

    def image(self, row: int) -> bytes:
        if self._names[row] not in self._image_row:
            raise ValueError("its image is missing from its row group")
        image: bytes = self._columns["image"][self._image_row[self._names[row]]].as_py()
        return image

    def mask(self, row: int, column: str) -> Rle:
        height, width = (self._columns[axis][row].as_py() for axis in ("height", "width"))
        return Rle(height, width, self._columns[column][row].as_py())
