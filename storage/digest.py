"""Content hashes of rows: independent of files, row groups and compression, so that they outlive a compaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import pyarrow as pa


def row_digests(batch: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, ...]]:
    """A sortable (recipe, part, position, schema, digest) for each row of a light or heavy table.

    Image bytes are left out: `image_sha` stands for them, and which row carries them is a matter of layout.
    """
    kind = batch.schema.metadata[b"ivm_schema"].decode()
    columns = [name for name in batch.schema.names if name != "image"]
    for row in batch.select(columns).to_pylist():
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=bytes.hex)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        yield row["recipe"], row["part"], f"{row['position']:010d}", kind, digest


def combine(digests: Iterable[tuple[str, ...]]) -> str:
    """One hash, 32 hex digits, over the digests in sorted order."""
    total = hashlib.blake2b(digest_size=16)
    for digest in sorted(digests):
        total.update("\x00".join(digest).encode() + b"\n")
    return total.hexdigest()
