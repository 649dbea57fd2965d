"""Single rows out of heavy files, a few row groups in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ivm_model.data.dataset import TrainingRow, decode_image
from ivm_model.data.shard_index import ShardIndex
from storage import rle
from storage.errors import InputError, ShardError
from storage.records import Rle, Status

_HEAVY = ["image_sha", "image", "height", "width", "mask", "human_mask"]
UNREADABLE = (OSError, ValueError, InputError)
"""What reading a damaged row raises; a shard that changed raises ShardError, which no row is to blame for."""


class RowReader:
    """What the rows of an index hold.

    Args:
        buffer: row groups that are kept in memory.
    """

    def __init__(self, index: ShardIndex, buffer: int) -> None:
        self.index, self.buffer = index, buffer
        self._files: dict[int, pq.ParquetFile] = {}
        self._groups: OrderedDict[tuple[int, int], _Group] = OrderedDict()

    def example(self, k: int) -> tuple[bytes, Rle]:
        """The image file of a row, and the mask that it trains on.

        Raises:
            ValueError: its row group lacks the image.
            ShardError: the shard changed since the index was made, or cannot be read.
        """
        group, at = self._group(k)
        return group.image(at), self._mask(group, at, k)

    def row(self, k: int) -> TrainingRow:
        """A row as `dataset.load_rows` makes it; errors as of `example`."""
        group, at = self._group(k)
        facts = {name: self.index.facts[name][k].as_py() for name in self.index.facts.column_names}
        human, verification = facts["human"], facts["verification"]
        return TrainingRow(
            **{name: facts[name] for name in ("sample_id", "recipe", "source", "kind", "difficulty", "instruction")},
            origin="human" if human else "machine",
            image=group.image(at),
            mask=self._mask(group, at, k),
            truth=None if human or not facts["has_human"] else group.mask(at, "human_mask"),
            machine_mask=group.mask(at, "mask") if human else None,
            verification=1 - _number(facts["presence"]) if verification is None else verification,
            quality=_number(facts["quality"]),
            accepted=facts["status"] in (Status.ACCEPTED, Status.NO_TARGET),
        )

    def rows(self, index_N: Iterable[int], *, decode: bool = False) -> tuple[list[TrainingRow], dict[str, str]]:
        """The readable ones of some rows, and by sample id why others cannot be read.

        Args:
            decode: also decode image and mask, to find those that are damaged.
        """
        good: list[TrainingRow] = []
        problems: dict[str, str] = {}
        for k in map(int, index_N):
            try:
                row = self.row(k)
                if decode:
                    _check(row)
                good.append(row)
            except UNREADABLE as error:
                problems[self.index.facts["sample_id"][k].as_py()] = str(error)
        return good, problems

    def _mask(self, group: _Group, at: int, k: int) -> Rle:
        sample_id = self.index.facts["sample_id"][k].as_py()
        if sample_id in self.index.reviewed:
            return self.index.reviewed[sample_id].mask or group.mask(at, "mask")
        return group.mask(at, "human_mask" if self.index.human_K[k] else "mask")

    def _group(self, k: int) -> tuple[_Group, int]:
        """The row group of a row, and its place there."""
        shard, row = int(self.index.shard_K[k]), int(self.index.row_K[k])
        starts = self.index.shards[shard].starts
        number = int(np.searchsorted(starts, row, side="right")) - 1
        key = (shard, number)
        if key not in self._groups:
            self._groups[key] = _Group(self._file(shard).read_row_group(number, columns=_HEAVY, use_threads=False))
        self._groups.move_to_end(key)
        while len(self._groups) > self.buffer:
            self._groups.popitem(last=False)
        return self._groups[key], row - starts[number]

    def _file(self, shard: int) -> pq.ParquetFile:
        if shard not in self._files:
            expected = self.index.shards[shard]
            try:
                file = pq.ParquetFile(expected.path, memory_map=True)
            except (OSError, pa.ArrowException) as error:
                raise ShardError(f"'{expected.path}' cannot be read any more: {error}; label the part again") from error
            expected.check(file)
            self._files[shard] = file
        return self._files[shard]


def _check(row: TrainingRow) -> None:
    """Decode a row's image and mask.

    Raises:
        OSError, ValueError: one of them cannot be read, or they differ in size.
    """
    height, width = decode_image(row).shape[:2]
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
        return self._columns["image"][self._image_row[self._names[row]]].as_py()

    def mask(self, row: int, column: str) -> Rle:
        height, width = (self._columns[axis][row].as_py() for axis in ("height", "width"))
        return Rle(height, width, self._columns[column][row].as_py())


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
