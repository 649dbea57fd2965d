"""Which outcomes count: of several outcomes of one pair, one.

A pair is labeled again where that is asked for, or where its record says something else by now; and data sets are there
in which an edited manifest was labeled again as a whole, or the bytes of one image came under two names. All rows stay
where they are. Of those with one recipe and sample id the one of the highest attempt counts (a part that labels again
is named `<part>@<attempt>`); then one that is held out, so that nothing is trained on through its twin; then one with a
human mask, a label before a rejection, and the first by part and position. What an input `replaces` does not count
either, but in attempts at least as late: a rejection without a sample whose record has ended as a sample, and a label
that other records have contradicted.

Finding them takes a pass over three columns. Who writes keeps the answer in DATA/superseded/<recipe>.json, with a hash
of the parts that it is about: as long as they are the parts of the data set, opening it takes no pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from storage.errors import ShardError
from storage.parts.files import alone_in, replace
from storage.parts.part_files import CommittedPart
from storage.parts.row_hashes import combine

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from storage.parts.layout import DataFiles


class _Opened(Protocol):
    """What is asked of a `storage.data_set.DataSet`, which itself asks this module."""

    @property
    def folder(self) -> Path: ...
    @property
    def scanned(self) -> DataFiles: ...
    @property
    def by_kind(self) -> dict[str, list[Path]]: ...
    @property
    def recipes(self) -> tuple[str, ...]: ...
    def parts(self, path: Path) -> tuple[CommittedPart, ...]: ...


ROWS = pa.schema([("recipe", pa.string()), ("part", pa.string()), ("position", pa.int32())])
"""Columns of what `superseded` gives."""

ATTEMPT = "coalesce(try_cast(regexp_extract(part, '@([0-9]+)$', 1) AS INTEGER), 0)"
"""SQL: how often the pairs of a row's part were labeled before, as its name says."""

_SUPERSEDED = f"""
    WITH rows AS (
        SELECT part, position, sample_id, outcome, held_out, has_human, {ATTEMPT} AS attempt
        FROM read_parquet($lights) SEMI JOIN counting USING (part)
    ),
    replaced AS (
        SELECT replaces AS sample_id, max({ATTEMPT}) AS since
        FROM inputs SEMI JOIN counting USING (part) WHERE replaces <> '' GROUP BY ALL
    ),
    doubled AS (SELECT sample_id FROM rows GROUP BY ALL HAVING count(*) > 1 UNION SELECT sample_id FROM replaced),
    ranked AS (
        SELECT *, row_number() OVER (
            PARTITION BY sample_id
            ORDER BY attempt DESC, held_out DESC, has_human DESC, outcome = 'label' DESC, part, position
        ) AS rank
        FROM rows SEMI JOIN doubled USING (sample_id)
    )
    SELECT $recipe AS recipe, part, position FROM ranked LEFT JOIN replaced USING (sample_id)
    WHERE rank > 1 OR attempt < since
    ORDER BY part, position"""


_RULE = "held out first"
"""Name of the order above, so that an answer that was kept under another one is not taken for its."""

_REPLACED = "INSERT INTO inputs SELECT part, replaces FROM read_parquet($inputs) WHERE replaces <> ''"


@contextmanager
def scratch() -> Iterator[DuckDBPyConnection]:
    """DuckDB over files of labels.

    Raises:
        ShardError: a file turned out to be damaged, or vanished, while it was read.
    """
    # Imported here: a data set at rest is opened without.
    import duckdb

    try:
        with duckdb.connect(":memory:", config={"autoload_known_extensions": False}) as connection:
            yield connection
    except duckdb.Error as error:
        raise ShardError(
            f"a file of the data set is damaged or gone ({error}); 'ivm snapshot verify' finds out which"
        ) from error


def superseded(data: _Opened) -> pa.Table:
    """The rows that do not count, with columns `ROWS`, in order."""
    lights: dict[str, list[Path]] = {}
    for path in data.by_kind["light"]:
        lights.setdefault(path.parent.name, []).append(path)
    tables = [_of_recipe(data, recipe, paths) for recipe, paths in sorted(lights.items())]
    # Not `ROWS.empty_table()`: making an Arrow array of Python values imports pandas, a second of CPU.
    return pa.concat_tables([pa.Table.from_batches([], ROWS), *tables])


def counts(rows: pa.Table, superseded: pa.Table) -> np.ndarray:
    """Whether each of N rows with columns recipe, part and position counts, bool (N,)."""
    if not len(superseded):
        return np.ones(len(rows), bool)
    gone = set(zip(*(superseded[name].to_pylist() for name in ROWS.names), strict=True))
    every = zip(*(rows[name].to_pylist() for name in ROWS.names), strict=True)
    return np.array([row not in gone for row in every], bool)


def remember(data: _Opened) -> None:
    """Keep the answer about all labels of an opened data set beside them; what is there already is not written again.

    Args:
        data: without a snapshot.
    """
    for recipe in data.recipes:
        rows: dict[str, list[int]] = {}
        for row in _of_recipe(data, recipe, _lights(data, recipe)).to_pylist():
            rows.setdefault(row["part"], []).append(row["position"])
        _keep(_path(data, recipe), json.dumps({"parts": _parts(data, recipe), "rows": rows}))


def _keep(path: Path, text: str) -> None:
    with alone_in(path.parent):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            replace(path, partial(_write, text))


def _write(text: str, hidden: Path) -> None:
    hidden.write_text(text, encoding="utf-8")


def _of_recipe(data: _Opened, recipe: str, lights: Sequence[Path]) -> pa.Table:
    counting = [part for path in lights for part in data.parts(path)]
    if len(counting) < 2:
        return _table(recipe, {})
    whole = all(data.parts(path) == data.scanned.parts[path] for path in data.scanned.by_kind["light"])
    known = _remembered(data, recipe)
    if known is not None and (not known or whole):
        return _table(recipe, known)
    return _found(data, recipe, lights, counting)


def _found(data: _Opened, recipe: str, lights: Sequence[Path], counting: Iterable[CommittedPart]) -> pa.Table:
    names = sorted(part.name for part in counting)
    inputs = [str(p) for p in data.by_kind["inputs"] if p.parent.name == recipe and any("@" in n for n in names)]
    with scratch() as connection:
        connection.execute("CREATE TABLE counting AS SELECT unnest($names) AS part", {"names": names})
        connection.execute("CREATE TABLE inputs (part VARCHAR, replaces VARCHAR)")
        if inputs:
            connection.execute(_REPLACED, {"inputs": inputs})
        options = {"lights": [str(path) for path in lights], "recipe": recipe}
        return connection.sql(_SUPERSEDED, params=options).to_arrow_table().cast(ROWS)


def _remembered(data: _Opened, recipe: str) -> Mapping[str, list[int]] | None:
    """Part -> positions of its rows that do not count; None where that was not kept, or of other parts."""
    try:
        kept = json.loads(_path(data, recipe).read_text(encoding="utf-8"))
        return kept["rows"] if kept["parts"] == _parts(data, recipe) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _table(recipe: str, rows: Mapping[str, list[int]]) -> pa.Table:
    if not rows:
        return pa.Table.from_batches([], ROWS)
    listed = [{"recipe": recipe, "part": part, "position": at} for part, positions in rows.items() for at in positions]
    return pa.Table.from_pylist(listed, ROWS)


def _parts(data: _Opened, recipe: str) -> str:
    """A hash of all parts of a recipe that the data set has, whatever files they lie in."""
    parts = (part for path in _lights(data, recipe) for part in data.scanned.parts[path])
    return combine([(_RULE,), *((part.name, part.content) for part in parts)])


def _lights(data: _Opened, recipe: str) -> list[Path]:
    return [path for path in data.scanned.by_kind["light"] if path.parent.name == recipe]


def _path(data: _Opened, recipe: str) -> Path:
    return data.folder / "superseded" / f"{recipe}.json"
