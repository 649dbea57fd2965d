"""The files of a data set: who writes where, who reads what, and how Parquet is encoded.

Each file appears whole (`storage.disk.publish`); writers of one folder take turns (`alone_in`).
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

from storage.disk.locks import release
from storage.disk.publish import make_folder, sweep, whole_file, written
from storage.errors import ShardError
from storage.parts.rows import HEAVY_ROWS

LIGHT_ROWS = 16_384
"""Rows of a row group without images."""

CONTENT = b"ivm_content"
"""Key of a file's content hash in its footer."""

_DICTIONARY = [
    *("recipe", "part", "outcome", "source", "kind", "difficulty", "episode", "camera", "status", "stage", "reason"),
    *("discriminator", "reviewer", "rule", "scope", "verdict", "parameters", "who", "expert", "evaluation_set"),
    *(f"candidates.list.element.{name}" for name in ("expert", "role")),
    "proposals.list.element.expert",
    *(f"pairs.list.element.{name}" for name in ("first", "second")),
    *(f"experts.list.element.{name}" for name in ("role", "name")),
]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, hold its lock, and clear what killed writers left in it, at least before every n-th time.

    n grows with the folder, so that a commit costs the same beside many files as beside few.

    Raises:
        DiskError: it cannot be made or written to.
    """
    with written(folder):
        make_folder(folder)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _sweep(folder)
            yield
        finally:
            release(handle)


NAMES_A_TURN = 64
"""Names in a folder for each time that it is locked without being searched for what killed writers left."""

_TURNS: dict[Path, int] = {}
"""Folder -> times that it will be locked before it is searched again."""


def _sweep(folder: Path) -> None:
    if left := _TURNS.get(folder, 0):
        _TURNS[folder] = left - 1
        return
    _TURNS[folder] = sweep(folder) // NAMES_A_TURN
    # Writers of earlier versions named their hidden files so, and hold the folder's lock.
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


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


def changed(path: Path, content: str) -> str:
    """Why rows with this hash are not those that the file was written with; "" where they are, or it does not say."""
    committed = (pq.read_schema(path).metadata or {}).get(CONTENT, b"").decode()
    return "" if committed in ("", content) else f"its rows hash to {content}, written were {committed}"


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file, then give it its name; call it inside `alone_in(path.parent)`."""
    with whole_file(path, swept=True) as hidden:
        write(hidden)


def write_table(path: Path, table: pa.Table, content: str = "") -> None:
    """Write a table of a schema of `storage.parts.schema`, its content hash in the footer; equal rows, equal bytes."""
    footer = {CONTENT: content.encode()}
    replace(path, lambda hidden: write_tables(hidden, table.schema, [table], table.num_rows, footer))


def write_tables(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], rows: int, footer: Mapping[bytes, bytes]
) -> None:
    """Write tables of a schema of `storage.parts.schema`, `rows` rows in all, each from a row group of its own on."""
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
