"""Committing parts and appending facts: what is committed once is never rewritten."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage import layout, schema
from storage.digest import combine, row_digests
from storage.errors import ShardError
from storage.files import CONTENT, alone_in, replace, write_table
from storage.records import Label, PartResult, Review, Weight
from storage.rows import heavy_rows, light_rows


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
    with alone_in(path.parent):
        fresh = not _holds(path, content)
        if fresh:
            write_table(layout.heavy_path(path), heavy, content)
            _write_timings(data, result)
            write_table(path, light, content)
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
    return _append(data / "weights" / layout.name(discriminator), part, weights, schema.WEIGHTS, "discriminator")


def write_reviews(data: Path, reviewer: str, part: str, reviews: Sequence[Review]) -> Path:
    """Append a person's opinions; the same again does nothing, others under the same name are refused."""
    return _append(data / "reviews" / layout.name(reviewer), part, reviews, schema.REVIEWS, "reviewer")


def write_recipe(data: Path, recipe: str, config: Mapping[str, Any]) -> Path:
    """Keep the configuration behind a recipe's hash as JSON.

    Raises:
        ShardError: the hash already stands for another configuration.
    """
    path = data / "recipes" / f"{layout.name(recipe)}.json"
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with alone_in(path.parent):
        if not path.exists():
            replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
        elif path.read_text(encoding="utf-8") != text:
            raise ShardError(f"recipe {recipe} already stands for another configuration in '{path}'; use a new hash")
    return path


def _check_recipe(result: PartResult) -> None:
    for outcome in result.outcomes:
        if isinstance(outcome, Label) and outcome.lineage.recipe != result.recipe:
            raise ValueError(
                f"part {result.part!r} of recipe {result.recipe} holds a label of recipe {outcome.lineage.recipe}"
            )


def _append(folder: Path, part: str, facts: Sequence[Any], kind: pa.Schema, owner: str) -> Path:
    path = folder / f"{layout.name(part)}.parquet"
    if strangers := {getattr(fact, owner) for fact in facts} - {folder.name}:
        raise ValueError(f"every fact in '{path}' must be of {owner} {folder.name!r}, got {sorted(strangers)}")
    table = pa.Table.from_pylist([asdict(fact) for fact in facts], schema=kind)
    content = combine((json.dumps(row),) for row in table.to_pylist())
    with alone_in(folder):
        if not _holds(path, content):
            write_table(path, table, content)
    return path


def _write_timings(data: Path, result: PartResult) -> None:
    table = pa.Table.from_pylist([asdict(timing) for timing in result.timings], schema=schema.TIMINGS)
    path = data / "timings" / result.recipe / f"{result.part}.parquet"
    with alone_in(path.parent):
        write_table(path, table)


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
