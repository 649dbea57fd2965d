"""Committing parts and appending facts: what is committed once is never rewritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import ShardError
from storage.parts import layout, part_files, schema
from storage.parts.files import CONTENT, alone_in, replace, write_table, write_tables
from storage.parts.part_files import PARTS, CommittedPart, listing
from storage.parts.row_hashes import combine, fact_digests, row_digests
from storage.parts.rows import fact_row, heavy_rows, light_rows
from storage.records import Decision, Label, PartResult, Reliability, Review, Weight


@dataclass(frozen=True, slots=True)
class Committed:
    """A part that is on disk.

    Attributes:
        content: hash of its rows, as `storage.upkeep.digest.content_hash` computes it.
        fresh: this call wrote it; False where the same part was there already.
    """

    light: Path
    heavy: Path
    content: str
    rows: int
    fresh: bool


def commit_part(data: Path, result: PartResult) -> Committed:
    """Write a part's records and outcomes, the heavy file before the light one: the light file is the commit.

    The same outcomes always give the same bytes, apart from the timings. Committing them again does nothing; nor does
    committing what the same records gave in a run that knew of fewer or more pairs in other parts.

    Raises:
        ShardError: the part is committed with other contents, or its committed file cannot be read.
    """
    _check_recipe(result)
    lights, heavies = list(light_rows(result)), list(heavy_rows(result))
    content = combine([*row_digests(lights, schema.LIGHT), *row_digests(heavies, schema.HEAVY)])
    path = layout.light_path(data, result.recipe, result.part)
    with alone_in(path.parent):
        content = _as_committed(data, result, lights) or content
        if compacted := _in_compacted(path, content):
            path = compacted
        fresh = not compacted and not _holds(path, content)
        if fresh:
            _write_inputs(data, result)
            write_table(layout.heavy_path(path), pa.Table.from_pylist(heavies, schema=schema.HEAVY), content)
            _write_timings(data, result)
            write_table(path, pa.Table.from_pylist(lights, schema=schema.LIGHT), content)
    return Committed(path, layout.heavy_path(path), content, len(result.outcomes), fresh)


def is_committed(data: Path, recipe: str, part: str) -> bool:
    """True where the part's light file exists, or a compacted one holds the part.

    Raises:
        ShardError: a compacted file of the recipe cannot be read.
    """
    path = layout.light_path(data, recipe, part)
    # In this order: a part's own file is removed only after the compacted one is there.
    return path.exists() or part_files.find(path.parent, layout.LIGHT, part) is not None


def committed_parts(data: Path, recipe: str) -> set[str]:
    """Names of all parts of a recipe for which `is_committed` is true, in one listing of its folder; see there."""
    folder = data / "labels" / layout.name(recipe)
    own = {path.name.removesuffix(layout.LIGHT) for path in folder.glob(f"*{layout.LIGHT}")}
    # In this order, as there.
    return own | part_files.in_compacted(folder, layout.LIGHT).keys()


def write_weights(data: Path, discriminator: str, part: str, weights: Sequence[Weight]) -> Path:
    """Append what a discriminator says; the same again does nothing, others under the same name are refused."""
    return _append(data / "weights" / layout.name(discriminator), part, weights, schema.WEIGHTS, "discriminator")


def write_reviews(data: Path, reviewer: str, part: str, reviews: Sequence[Review]) -> Path:
    """Append a person's reviews; the same again does nothing, others under the same name are refused."""
    return _append(data / "reviews" / layout.name(reviewer), part, reviews, schema.REVIEWS, "reviewer")


def write_decisions(data: Path, rule: str, part: str, decisions: Sequence[Decision]) -> Path:
    """Append what a rule decided; the same again does nothing, others under the same name are refused."""
    return _append(data / "decisions" / layout.name(rule), part, decisions, schema.DECISIONS, "rule")


def write_reliability(data: Path, recipe: str, part: str, found: Sequence[Reliability]) -> Path:
    """Append estimates about experts; the same again does nothing, others under the same name are refused."""
    return _append(data / "reliability" / layout.name(recipe), part, found, schema.RELIABILITY, "recipe")


def write_evaluation(data: Path, name: str, part: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Keep the images of an evaluation set, rows of `schema.EVALUATION`; the last ones under a name stay."""
    path = data / "evaluation" / layout.name(name) / f"{layout.name(part)}.parquet"
    return _write(path, rows, schema.EVALUATION)


def write_measures(data: Path, recipe: str, parts: Sequence[CommittedPart], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write what was measured on the labels of some parts, rows of `schema.MEASURES` in the parts' order."""
    path = data / "measures" / layout.name(recipe) / f"{part_files.joint_name(parts)}.parquet"
    return _write(path, rows, schema.MEASURES, {PARTS: listing(parts)})


def _check_recipe(result: PartResult) -> None:
    for outcome in result.outcomes:
        if isinstance(outcome, Label) and outcome.lineage.recipe != result.recipe:
            raise ValueError(
                f"part {result.part!r} of recipe {result.recipe} holds a label of recipe {outcome.lineage.recipe}"
            )


def _append(folder: Path, part: str, facts: Sequence[Any], kind: pa.Schema, owner: str) -> Path:
    path = folder / f"{layout.name(part)}.parquet"
    if others := {getattr(fact, owner) for fact in facts} - {folder.name}:
        raise ValueError(f"every fact in '{path}' must be of {owner} {folder.name!r}, got {sorted(others)}")
    rows = [fact_row(fact) for fact in facts]
    content = combine(fact_digests(rows, kind))
    with alone_in(folder):
        if not _holds(path, content):
            write_table(path, pa.Table.from_pylist(rows, schema=kind), content)
    return path


def _write_timings(data: Path, result: PartResult) -> None:
    path = data / "timings" / result.recipe / f"{result.part}.parquet"
    _write(path, [fact_row(timing) for timing in result.timings], schema.TIMINGS)


def _write(
    path: Path, rows: Sequence[Mapping[str, Any]], kind: pa.Schema, footer: Mapping[bytes, bytes] | None = None
) -> Path:
    """Write what may be written again, with the hash of its rows, so that a change is noticed."""
    table = pa.Table.from_pylist(list(rows), schema=kind)
    whole = {CONTENT: combine(fact_digests(rows, kind)).encode(), **(footer or {})}
    with alone_in(path.parent):
        replace(path, lambda hidden: write_tables(hidden, kind, [table], len(table), whole))
    return path


def _write_inputs(data: Path, result: PartResult) -> None:
    if result.inputs:
        keys = {"recipe": result.recipe, "part": result.part}
        table = pa.Table.from_pylist([keys | fact_row(one) for one in result.inputs], schema=schema.INPUTS)
        path = data / "inputs" / result.recipe / f"{result.part}.parquet"
        with alone_in(path.parent):
            write_table(path, table)


def _as_committed(data: Path, result: PartResult, lights: list[dict[str, Any]]) -> str:
    """The contents of the part as another run committed it; "" where none did, or other outcomes of these records.

    Two runs at once may know of different pairs in other parts, and so leave out different ones of this part.
    """
    path = layout.light_path(data, result.recipe, result.part)
    joint = part_files.find(path.parent, layout.LIGHT, result.part)
    if not result.inputs or not (path.exists() or joint):
        return ""
    file, content = (joint[0], joint[1].content) if joint else (path, _content(path))
    folder = data / "inputs" / result.recipe
    own, several = folder / f"{result.part}.parquet", part_files.find(folder, ".parquet", result.part)
    inputs = [one for one in (own, *(several or ())[:1]) if one.exists()]
    this = pc.field("part") == result.part
    records = {
        raw for one in inputs for raw in pq.read_table(one, columns=["record"], filters=this)["record"].to_pylist()
    }
    theirs = _by_sample(pq.read_table(file, schema=schema.LIGHT, filters=this))
    ours = _by_sample(pa.Table.from_pylist(lights, schema=schema.LIGHT))
    same = records == {one.record for one in result.inputs} and all(
        ours[sample_id] == theirs[sample_id] for sample_id in ours.keys() & theirs.keys()
    )
    return content if same else ""


def _by_sample(light: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["sample_id"]: row for row in light.drop_columns("position").to_pylist()}


def _content(path: Path) -> str:
    """The hash that a file was committed with."""
    try:
        metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
        return metadata.get(CONTENT, b"").decode()
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"'{path}' is committed but cannot be read ({error}); remove it and write again") from error


def _in_compacted(path: Path, content: str) -> Path | None:
    """The compacted file that holds the part of this light file, which must have these contents."""
    found = part_files.find(path.parent, layout.LIGHT, path.name.removesuffix(layout.LIGHT))
    if found is None:
        return None
    several, part = found
    _same(several, part.content, content)
    return several


def _holds(path: Path, content: str) -> bool:
    """Whether the file is there with these contents."""
    if not path.exists():
        return False
    _same(path, _content(path), content)
    return True


def _same(path: Path, found: str, content: str) -> None:
    if found != content:
        raise ShardError(
            f"'{path}' is already committed with other contents (hash {found or 'none'}, now {content}); "
            "write under a new recipe or name, or remove that file first"
        )
