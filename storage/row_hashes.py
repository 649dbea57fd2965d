"""Content hashes of rows: independent of files, row groups and compression, so that they outlive a compaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage import layout


def part_digests(light: Path) -> Iterator[tuple[str, ...]]:
    """The digests of every row of a light file and of the heavy file beside it."""
    for path in (light, layout.heavy_path(light)):
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name != "image"]
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                yield from row_digests(batch)


def row_digests(batch: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, ...]]:
    """A sortable (recipe, part, position, schema, digest) for each row of a light or heavy table.

    Image bytes are left out: `image_sha` stands for them, and which row carries them is a matter of layout.
    """
    kind = "heavy" if "mask" in batch.schema.names else "light"
    columns = [name for name in batch.schema.names if name != "image"]
    for row in batch.select(columns).to_pylist():
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=bytes.hex)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        yield row["recipe"], row["part"], f"{row['position']:010d}", kind, digest


def fact_digests(table: pa.Table) -> Iterator[tuple[str, ...]]:
    """One sortable text for each row of a table of facts."""
    return ((json.dumps(row, default=bytes.hex),) for row in table.to_pylist())


def combine(digests: Iterable[tuple[str, ...]]) -> str:
    """One hash, 32 hex digits, over the digests in sorted order."""
    total = hashlib.blake2b(digest_size=16)
    for digest in sorted(digests):
        total.update("\x00".join(digest).encode() + b"\n")
    return total.hexdigest()
