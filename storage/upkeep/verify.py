"""Check every byte of a data set: a footer can be whole where a page is damaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.data_set import DataSet
from storage.parts import layout
from storage.parts.files import CONTENT, changed
from storage.parts.layout import Problem
from storage.parts.row_hashes import combine, fact_digests, part_digests
from storage.records import image_sha
from storage.tables import recipes
from storage.tables.snapshots import FACTS, Snapshot


def verify(data: Path) -> tuple[Problem, ...]:
    """Read all files whole; name those that are torn, foreign, incomplete, damaged or not as they were written.

    Raises:
        ConfigError: `data` is not a folder.
    """
    with DataSet.open(data) as opened:
        checks: list[tuple[Path, Callable[[Path], str]]] = [
            *((path, _check_content) for path in opened.by_kind["light"]),
            *((path, _check_images) for path in opened.by_kind["heavy"]),
            *((path, _check_facts) for kind in layout.KINDS[2:] for path in opened.by_kind[kind]),
        ]
        found = [Problem(path.relative_to(data), why) for path, check in checks if (why := _try(check, path))]
        return (*opened.problems, *found, *recipes.verify(data))


def verify_snapshot(data: DataSet, snapshot: Snapshot) -> tuple[str, ...]:
    """Read every row that the snapshot lists; name the entries that are missing or have other contents."""
    found: dict[tuple[str, str, str], str] = {}
    for path in data.by_kind["light"]:
        found |= {("labels", *key): content for key, content in _label_contents(data, path)}
    for kind in FACTS:
        for path in data.by_kind[kind]:
            rows = pq.read_table(path).to_pylist()
            found[kind, path.parent.name, path.stem] = combine(fact_digests(rows, layout.SCHEMAS[kind]))
    wrong = []
    for entry in snapshot.entries:
        content = found.get((entry.kind, entry.owner, entry.part))
        if content != entry.content:
            seen = "is missing" if content is None else f"hashes to {content}"
            wrong.append(f"{entry.kind}/{entry.owner}/{entry.part} {seen}, the snapshot lists {entry.content}")
    return tuple(wrong)


def _try(check: Callable[[Path], str], path: Path) -> str:
    try:
        return check(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"damaged: {error}"


def _check_content(light: Path) -> str:
    committed = (pq.read_schema(light).metadata or {}).get(CONTENT, b"").decode()
    content = combine(part_digests(light))
    return "" if content == committed else f"its part's rows hash to {content}, committed was {committed or 'nothing'}"


def _check_images(heavy: Path) -> str:
    with pq.ParquetFile(heavy) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["image_sha", "image"])
            found = {image_sha(row["image"]) for row in table.to_pylist() if row["image"] is not None}
            if found != set(table["image_sha"].to_pylist()):
                return f"the images of row group {group} are not those that its rows name"
    return ""


def _check_facts(path: Path) -> str:
    kind = layout.SCHEMAS[path.parents[1].name]
    return changed(path, combine(fact_digests(pq.read_table(path, schema=kind).to_pylist(), kind)))


def _label_contents(data: DataSet, light: Path) -> Iterable[tuple[tuple[str, str], str]]:
    """((recipe, part), hash of its rows) of each part of a light file; a damaged file counts as missing."""
    digests: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    try:
        for digest in part_digests(light):
            digests[digest[0], digest[1]].append(digest)
    except (pa.ArrowException, OSError, ValueError):
        return []
    empty = {(light.parent.name, part.name): combine([]) for part in data.parts(light) if not part.rows}
    return (empty | {key: combine(rows) for key, rows in digests.items()}).items()
