"""Content hashes of rows: independent of files, row groups and compression, so that they outlive a compaction.

A row's text is the JSON of its columns in the order of the schema, as Arrow gives them back, without the NULLs of
`schema.LATER`. Rows that are about to be
written are brought to that form by `as_read`, without the way through Arrow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from struct import pack, unpack
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.parts import layout
from storage.parts.schema import LATER

_ROW = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=bytes.hex).encode
_FACT = json.JSONEncoder(default=bytes.hex).encode

Convert = Callable[[Any], Any]


def part_digests(light: Path) -> Iterator[tuple[str, ...]]:
    """The digests of every row of a light file and of the heavy file beside it."""
    for path in (light, layout.heavy_path(light)):
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name != "image"]
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                yield from table_digests(batch)


def table_digests(batch: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, ...]]:
    """A sortable (recipe, part, position, schema, digest) for each row of a light or heavy table.

    Image bytes are left out: `image_sha` stands for them, and which row carries them is a matter of layout.
    """
    columns = [name for name in batch.schema.names if name != "image"]
    yield from _digests(batch.select(columns).to_pylist(), batch.schema)


def row_digests(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    """The same digests, of rows that will be written under one of `storage.parts.schema`'s label schemas."""
    convert = as_read(schema)
    yield from _digests((convert(row) for row in rows), schema)


def fact_digests(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    """One sortable text for each row of facts, about to be written or read back."""
    convert = as_read(schema)
    return ((_FACT(_told(convert(row))),) for row in rows)


def combine(digests: Iterable[tuple[str, ...]]) -> str:
    """One hash, 32 hex digits, over the digests in sorted order."""
    total = hashlib.blake2b(digest_size=16)
    for digest in sorted(digests):
        total.update("\x00".join(digest).encode() + b"\n")
    return total.hexdigest()


@cache
def as_read(schema: pa.Schema) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Row to be written -> the row as Arrow would give it back, without its image: columns in the schema's order, None
    where one is missing, and each value of the column's type, rounded where that is float32."""
    return _struct([field for field in schema if field.name != "image"])


def _digests(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[tuple[str, ...]]:
    kind = "heavy" if "mask" in schema.names else "light"
    for row in rows:
        digest = hashlib.blake2b(_ROW(_told(row)).encode(), digest_size=16).hexdigest()
        yield row["recipe"], row["part"], f"{row['position']:010d}", kind, digest


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None or name not in LATER}


def _struct(fields: Iterable[pa.Field]) -> Convert:
    converts = [(field.name, _convert(field.type)) for field in fields]

    def convert(row: Mapping[str, Any]) -> dict[str, Any]:
        get = row.get
        return {name: None if (value := get(name)) is None else of(value) for name, of in converts}

    return convert


def _list(of: Convert) -> Convert:
    return lambda values: [None if value is None else of(value) for value in values]


def _convert(kind: pa.DataType) -> Convert:
    """How a value that is not None reads back from a column of this type."""
    if pa.types.is_struct(kind):
        return _struct(kind)
    if pa.types.is_list(kind):
        return _list(_convert(kind.value_type))
    if pa.types.is_fixed_size_binary(kind):
        return bytes
    if pa.types.is_float32(kind):
        return lambda value: unpack("<f", pack("<f", value))[0]
    by_type: dict[pa.DataType, Convert] = {pa.string(): str.__str__, pa.binary(): bytes, pa.bool_(): bool}
    return by_type.get(kind) or (float if pa.types.is_float64(kind) else int)
