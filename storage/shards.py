"""Writing: each file appears whole or not at all, and a committed fact is never rewritten.

A file is written under a hidden name, synced, renamed, and its folder synced. Writers of one folder take turns by
`flock` on the folder, which the kernel releases when a process dies; so a hidden file seen under the lock is the
remains of a killed writer.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage import layout, schema
from storage.digest import combine, row_digests
from storage.errors import ShardError
from storage.records import Label, PartResult, Review, Weight
from storage.rows import HEAVY_ROWS, heavy_rows, light_rows

LIGHT_ROWS = 16_384
"""Rows of a light row group."""

CONTENT = b"ivm_content"
"""Key of a file's content hash in its footer."""

_DICTIONARY = [
    *(
        "recipe",
        "part",
        "outcome",
        "source",
        "kind",
        "difficulty",
        "status",
        "stage",
        "reason",
        "discriminator",
        "reviewer",
    ),
    *(f"candidates.list.element.{name}" for name in ("expert", "role")),
    "proposals.list.element.expert",
    *(f"pairs.list.element.{name}" for name in ("first", "second")),
    *(f"experts.list.element.{name}" for name in ("role", "name")),
]


@dataclass(frozen=True, slots=True)
class Committed:
    """A part that is on disk.

    Attributes:
        content: hash of its rows, as `storage.digest.content_hash` computes it.
        fresh: this call wrote it; False where the same part was there already.
    """

    light: Path
    heavy: Path
    content: str
    rows: int
    fresh: bool


def commit_part(data: Path, result: PartResult) -> Committed:
    """Write a part's outcomes, heavy file first and light file last: the light file is the commit.

    The same outcomes always give the same bytes, apart from the timings. Committing them again does nothing.

    Raises:
        ShardError: the part is committed with other contents, or its committed file cannot be read.
    """
    _check_recipe(result)
    light = pa.Table.from_pylist(list(light_rows(result)), schema=schema.LIGHT)
    heavy = pa.Table.from_pylist(list(heavy_rows(result)), schema=schema.HEAVY)
    content = combine([*row_digests(light), *row_digests(heavy)])
    path = layout.light_path(data, result.recipe, result.part)
    with _alone_in(path.parent):
        fresh = not _holds(path, content)
        if fresh:
            _write(layout.heavy_path(path), heavy, content)
            _write_timings(data, result)
            _write(path, light, content)
    return Committed(path, layout.heavy_path(path), content, len(result.outcomes), fresh)


def is_committed(data: Path, recipe: str, part: str) -> bool:
    """True where the part's light file exists."""
    return layout.light_path(data, recipe, part).exists()


def list_parts(data: Path, recipe: str) -> list[str]:
    """Names of the recipe's committed parts, sorted."""
    folder = data / "labels" / layout.name(recipe)
    return sorted(path.name.removesuffix(layout.LIGHT) for path in folder.glob(f"*{layout.LIGHT}"))


def write_weights(data: Path, discriminator: str, part: str, weights: Sequence[Weight]) -> Path:
    """Append a discriminator's opinions; the same again does nothing, others under the same name are refused."""
    return _append(data / "weights", discriminator, part, weights, schema.WEIGHTS)


def write_reviews(data: Path, reviewer: str, part: str, reviews: Sequence[Review]) -> Path:
    """Append a person's opinions; the same again does nothing, others under the same name are refused."""
    return _append(data / "reviews", reviewer, part, reviews, schema.REVIEWS)


def write_recipe(data: Path, recipe: str, config: Mapping[str, Any]) -> Path:
    """Keep the configuration behind a recipe's hash as JSON.

    Raises:
        ShardError: the hash already stands for another configuration.
    """
    path = data / "recipes" / f"{layout.name(recipe)}.json"
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with _alone_in(path.parent):
        if not path.exists():
            _replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
        elif path.read_text(encoding="utf-8") != text:
            raise ShardError(f"recipe {recipe} already stands for another configuration in '{path}'; use a new hash")
    return path


def _check_recipe(result: PartResult) -> None:
    for outcome in result.outcomes:
        if isinstance(outcome, Label) and outcome.lineage.recipe != result.recipe:
            raise ValueError(
                f"part {result.part!r} of recipe {result.recipe} holds a label of recipe {outcome.lineage.recipe}"
            )


def _append(folder: Path, owner: str, part: str, facts: Sequence[Any], kind: pa.Schema) -> Path:
    path = folder / layout.name(owner) / f"{layout.name(part)}.parquet"
    column = "discriminator" if "discriminator" in kind.names else "reviewer"
    if strangers := {getattr(fact, column) for fact in facts} - {owner}:
        raise ValueError(f"every fact in '{path}' must be of {column} {owner!r}, got {sorted(strangers)}")
    table = pa.Table.from_pylist([asdict(fact) for fact in facts], schema=kind)
    content = combine((json.dumps(row),) for row in table.to_pylist())
    with _alone_in(path.parent):
        if not _holds(path, content):
            _write(path, table, content)
    return path


def _write_timings(data: Path, result: PartResult) -> None:
    table = pa.Table.from_pylist([asdict(timing) for timing in result.timings], schema=schema.TIMINGS)
    path = data / "timings" / result.recipe / f"{result.part}.parquet"
    with _alone_in(path.parent):
        _write(path, table, content="")


def _holds(path: Path, content: str) -> bool:
    """Whether the file is there with these contents."""
    if not path.exists():
        return False
    try:
        found = (pq.read_schema(path).metadata or {}).get(CONTENT, b"").decode()
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"'{path}' is committed but cannot be read ({error}); remove it and write again") from error
    if found != content:
        raise ShardError(
            f"'{path}' is already committed with other contents (hash {found or 'none'}, now {content}); "
            "write under a new recipe or name, or remove that file first"
        )
    return True


def _write(path: Path, table: pa.Table, content: str) -> None:
    table = table.replace_schema_metadata({**table.schema.metadata, CONTENT: content})
    options = _heavy_options() if "image" in table.column_names else _light_options(table)
    _replace(path, lambda hidden: pq.write_table(table, hidden, **options))


def _light_options(table: pa.Table) -> dict[str, Any]:
    bloom = {"sample_id": {"ndv": max(1, table.num_rows), "fpp": 0.01}} if "sample_id" in table.column_names else None
    return {
        "row_group_size": LIGHT_ROWS,
        "compression": "zstd",
        "use_dictionary": _DICTIONARY,
        "bloom_filter_options": bloom,
    }


def _heavy_options() -> dict[str, Any]:
    # Image files are compressed already; a second pass costs time and gains nothing.
    masks = ("mask", "human_mask", "proposal_masks.list.element")
    return {
        "row_group_size": HEAVY_ROWS,
        "compression": {"image": "none", **dict.fromkeys(("sample_id", "image_sha", *masks), "zstd")},
        "use_dictionary": ["recipe", "part"],
        "write_statistics": ["recipe", "part", "position", "sample_id"],
    }


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file, then give it its name; needs `_alone_in` the folder."""
    hidden = path.with_name(f".{path.name}.tmp")
    write(hidden)
    _sync(hidden)
    os.replace(hidden, path)
    _sync(path.parent)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; clears what killed writers left."""
    _make(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
