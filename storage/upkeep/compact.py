"""Compaction: many small committed files become few large ones, with the same rows.

A file over one million rows costs DuckDB 30 ms, five thousand of them a second or two. A new file is written aside and
checked against the hashes that its parts were committed with; then one rename makes it current and supersedes what it
replaces (`storage.parts.part_files`). What a kill leaves behind, and what an opened `DataSet` is reading, is
superseded and stays until the next compaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.data_set import DataSet
from storage.disk.locks import unclaimed, unused
from storage.disk.publish import adopt, make_folder, written
from storage.errors import ConfigError, ShardError
from storage.parts import layout, schema
from storage.parts.files import CONTENT, LIGHT_ROWS, alone_in, changed, readable, write_tables
from storage.parts.part_files import PARTS, CommittedPart, announce, joint_name, listing, parts_of, superseded
from storage.parts.row_hashes import combine, fact_digests, part_digests
from storage.parts.rows import HEAVY_ROWS, RowDict, share_images
from storage.records import image_sha

SCRATCH = ".compacting"
"""Folder of a data set where new files are written; nothing reads it."""

FULL = 128
"""Full files of a recipe beyond which files are made larger."""
LARGEST = 8
"""How much larger: the heavy file of 131,072 photographs has some 8 GB, and a row is joined again three times."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """The outcome for a recipe's label files: their number before and after, and the rows in them."""

    recipe: str
    before: int
    after: int
    rows: int


def compact(data: Path, recipe: str | None = None, target_rows: int | None = None) -> list[Compaction]:
    """Join a recipe's label, timing, measure and input files, or every recipe's, into files of `target_rows` outcomes.

    Files that are half full are left as they are. Labeling, training and queries may go on meanwhile, and killing is
    safe at any moment.

    Args:
        target_rows: by default what `full_file` says.

    Raises:
        ConfigError: no labels of that recipe, or `target_rows` is not positive.
        ShardError: a file is damaged or not as committed; nothing of it is replaced.
    """
    if target_rows is not None and target_rows < 1:
        raise ConfigError(f"'target_rows' must be at least 1, got {target_rows}")
    with DataSet.open(data, recipe) as opened:
        recipes = sorted({path.parent.name for path in opened.files("light")})
    # Closed again: what is open keeps the files that a compaction would remove.
    return [_compact(data, name, target_rows) for name in recipes]


def full_file(rows: int) -> int:
    """Rows of a full file of a recipe that has so many: more than `LIGHT_ROWS` where that would make `FULL` files."""
    full = LIGHT_ROWS
    while rows > FULL * full and full < LARGEST * LIGHT_ROWS:
        full *= 2
    return full


def compact_unless_busy(data: Path, recipe: str) -> bool:
    """The same for one recipe that has labels, unless another process compacts it now; whether it was done."""
    scratch = data / SCRATCH / recipe
    with written(scratch):
        make_folder(scratch)
    with unclaimed(scratch) as free:
        if free:
            _join(data, recipe, scratch)
    return free


def _compact(data: Path, recipe: str, target_rows: int | None) -> Compaction:
    scratch = data / SCRATCH / recipe
    with alone_in(scratch):
        before = _join(data, recipe, scratch, target_rows)
    with DataSet.open(data, recipe) as opened:
        after = opened.files("light")
        return Compaction(recipe, before, len(after), sum(map(opened.rows, after)))


def _join(data: Path, recipe: str, scratch: Path, target_rows: int | None = None) -> int:
    """The number of light files before; call it with the lock of the scratch folder."""
    _clear(scratch)
    try:
        before = _sweep(data / "labels" / recipe, layout.LIGHT)
        target_rows = target_rows or full_file(sum(part.rows for parts in before.values() for part in parts))
        for group in _groups(before, target_rows):
            _join_labels(group, scratch)
        for kind in ("timings", "measures", "inputs"):
            for group in _groups(_sweep(data / kind / recipe, ".parquet"), target_rows):
                _join_tables(group, scratch, layout.SCHEMAS[kind])
    finally:
        _clear(scratch)
    return len(before)


def _clear(scratch: Path) -> None:
    for leftover in scratch.iterdir():
        leftover.unlink()


_Files = dict[Path, tuple[CommittedPart, ...]]


def _sweep(folder: Path, suffix: str) -> _Files:
    """The current files with their parts, in the order of their names; what killed writers left is removed."""
    files = {}
    with alone_in(folder):
        for path in sorted(folder.glob(f"*{suffix}")):
            with readable(path):
                footer = pq.read_metadata(path)
            files[path] = parts_of(path.name.removesuffix(suffix), footer.num_rows, footer.metadata)
        if gone := superseded(files):
            announce(folder)
            _remove(gone)
        for heavy in set(folder.glob(f"*{layout.HEAVY}")) - {layout.heavy_path(path) for path in files}:
            heavy.unlink()
    return {path: parts for path, parts in files.items() if path not in gone}


def _groups(files: _Files, target_rows: int) -> Iterator[_Files]:
    """Neighbours that fit together in one file, two or more at a time."""
    group: _Files = {}
    count = 0
    for path, parts in files.items():
        rows = sum(part.rows for part in parts)
        if rows * 2 > target_rows:
            continue
        if count + rows > target_rows:
            yield group
            group, count = {}, 0
        group[path] = parts
        count += rows
    if len(group) > 1:
        yield group


def _join_labels(group: _Files, scratch: Path) -> None:
    parts = [part for held in group.values() for part in held]
    footer = {CONTENT: _check(group).encode(), PARTS: listing(parts)}
    made = scratch / f"{joint_name(parts)}{layout.LIGHT}"
    lights = (_read(path, schema.LIGHT) for path in group)
    write_tables(made, schema.LIGHT, _blocks(lights, LIGHT_ROWS), sum(part.rows for part in parts), footer)
    heavies = _heavy_tables(map(layout.heavy_path, group))
    write_tables(layout.heavy_path(made), schema.HEAVY, heavies, 0, {CONTENT: footer[CONTENT]})
    folder = next(iter(group)).parent
    with alone_in(folder):
        adopt(layout.heavy_path(folder / made.name), layout.heavy_path(made))
        adopt(folder / made.name, made)
        announce(folder)
        _remove(group)


def _join_tables(group: _Files, scratch: Path, kind: pa.Schema) -> None:
    parts = [part for held in group.values() for part in held]
    made = scratch / f"{joint_name(parts)}.parquet"
    tables = [_read(path, kind) for path in group]
    digests = [digest for path, table in zip(group, tables, strict=True) for digest in _check_facts(path, table)]
    footer = {CONTENT: combine(digests).encode(), PARTS: listing(parts)}
    write_tables(made, kind, _blocks(tables, LIGHT_ROWS), sum(part.rows for part in parts), footer)
    folder = next(iter(group)).parent
    with alone_in(folder):
        adopt(folder / made.name, made)
        announce(folder)
        _remove(group)


def _read(path: Path, kind: pa.Schema) -> pa.Table:
    with readable(path):
        return pq.read_table(path, schema=kind)


def _check_facts(path: Path, table: pa.Table) -> list[tuple[str, ...]]:
    """The digests of a file's rows, which must be those that it was written with, where its footer has their hash."""
    digests = list(fact_digests(table.to_pylist(), table.schema))
    if why := changed(path, combine(digests)):
        raise ShardError(f"'{path}': {why}; move the file away")
    return digests


def _check(group: _Files) -> str:
    """The hash over all rows of the files, each part's of which must be the one that it was committed with."""
    digests: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for path in group:
        with readable(path):
            for digest in part_digests(path):
                digests[digest[1]].append(digest)
    for path, parts in group.items():
        for part in parts:
            if (found := combine(digests[part.name])) != part.content:
                raise ShardError(
                    f"part '{part.name}' in '{path}' hashes to {found}, committed was {part.content or 'nothing'}; "
                    "move the file away and label the part again"
                )
    return combine(digest for one in digests.values() for digest in one)


def _blocks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows; the last one is what is left."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        while sum(map(len, held)) >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held = [whole.slice(rows)]
    yield pa.concat_tables(held)


def _heavy_tables(paths: Iterable[Path]) -> Iterator[pa.Table]:
    rows = share_images(row for path in paths for row in _heavy_rows(path))
    while block := list(islice(rows, HEAVY_ROWS)):
        yield pa.Table.from_pylist(block, schema=schema.HEAVY)


def _heavy_rows(path: Path) -> Iterator[RowDict]:
    """The rows of a heavy file, each with its image."""
    with readable(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group).to_pylist()
            images = {row["image_sha"]: row["image"] for row in rows if row["image"] is not None}
            for sha in {row["image_sha"] for row in rows}:
                if sha not in images or image_sha(images[sha]) != sha:
                    raise ShardError(
                        f"row group {group} of '{path}' does not hold the image {sha} that it names; "
                        "move the file away and label its parts again"
                    )
            yield from (row | {"image": images[row["image_sha"]]} for row in rows)


def _remove(paths: Iterable[Path]) -> None:
    """Light files before heavy ones, so that none is ever seen without its other half; none that is being read."""
    for path in paths:
        with unused(path.parent.parent) as free:
            if free:
                path.unlink()
                if path.name.endswith(layout.LIGHT):
                    layout.heavy_path(path).unlink(missing_ok=True)
