"""Files that appear whole or not at all.

A file is written under a hidden name, synced, renamed, and its folder synced. Writers of one folder take turns by
`flock` on the folder, which the kernel releases when a process dies; so a hidden file seen under the lock is the
remains of a killed writer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ShardError
from storage.rows import HEAVY_ROWS

LIGHT_ROWS = 16_384
"""Rows of a row group without images."""

CONTENT = b"ivm_content"
"""Key of a file's content hash in its footer."""

_DICTIONARY = [
    *("recipe", "part", "outcome", "source", "kind", "difficulty", "status", "stage", "reason"),
    *("discriminator", "reviewer", "rule", "scope", "verdict", "parameters", "who", "expert", "evaluation_set"),
    *(f"candidates.list.element.{name}" for name in ("expert", "role")),
    "proposals.list.element.expert",
    *(f"pairs.list.element.{name}" for name in ("first", "second")),
    *(f"experts.list.element.{name}" for name in ("role", "name")),
]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, hold its lock, and clear what killed writers left in it."""
    _make(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield
    finally:
        os.close(handle)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep the files below a folder, if it is there, while they are read; `unused` says no meanwhile."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether no reader is in `in_use` of the folder; if so, the next one waits until this ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Any error of the disk or of Parquet in the block is about this file.

    Raises:
        ShardError: the file is damaged, gone, or may not be read.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise ShardError(f"'{path}' cannot be read ({why}); move it away, and write again what it held") from error


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file, then give it its name; call it inside `alone_in(path.parent)`."""
    hidden = path.with_name(f".{path.name}.tmp")
    write(hidden)
    adopt(path, hidden)


def adopt(path: Path, written: Path) -> None:
    """Give a file that lies whole on the same disk its name; call it inside `alone_in(path.parent)`."""
    sync(written)
    os.replace(written, path)
    sync(path.parent)


def write_table(path: Path, table: pa.Table, content: str = "") -> None:
    """Write a table of one of `storage.schema`'s schemas, its content hash in the footer; equal rows, equal bytes."""
    footer = {CONTENT: content.encode()}
    replace(path, lambda hidden: write_tables(hidden, table.schema, [table], table.num_rows, footer))


def write_tables(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], rows: int, footer: Mapping[bytes, bytes]
) -> None:
    """Write tables of one of `storage.schema`'s schemas, `rows` rows in all, each from a row group of its own on."""
    heavy = "image" in schema.names
    options = _heavy_options() if heavy else _light_options(schema, rows)
    with pq.ParquetWriter(path, schema.with_metadata({**schema.metadata, **footer}), **options) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=HEAVY_ROWS if heavy else LIGHT_ROWS)


def _light_options(schema: pa.Schema, rows: int) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "use_dictionary": _DICTIONARY,
        "bloom_filter_options": {"sample_id": {"ndv": max(1, rows), "fpp": 0.01}}
        if "sample_id" in schema.names
        else None,
    }


def _heavy_options() -> dict[str, Any]:
    # Image files are compressed already; a second pass costs time and gains nothing.
    masks = ("mask", "human_mask", "proposal_masks.list.element")
    return {
        "compression": {"image": "none", **dict.fromkeys(("sample_id", "image_sha", *masks), "zstd")},
        "use_dictionary": ["recipe", "part"],
        "write_statistics": ["recipe", "part", "position", "sample_id"],
    }


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
