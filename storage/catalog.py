"""The catalog: DuckDB over the Parquet files of a data set, read in place, with views and named queries.

Nothing is imported, so a catalog opens in milliseconds and costs no disk. It is read only: one SELECT at a time is
allowed, and DuckDB itself may open no file but the data set's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.gates import in_sql
from storage.gates.gate import Gate
from storage.parts import layout
from storage.parts.layout import Problem
from storage.pixels.mask_functions import register
from storage.sql import queries
from storage.sql.sql_views import VIEWS
from storage.tables import recipes

_REFUSED = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, duckdb.PermissionException)
_OF_PARTS = {"light", "heavy", "timings", "measures", "inputs"}
"""Kinds whose rows name their recipe and part."""

_OF_OUTCOMES = {"light", "heavy", "measures"}
"""Kinds with a row for an outcome, or at most one."""

_PARTS = pa.schema([("recipe", pa.string()), ("part", pa.string())])


_CLASS = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
"""How DuckDB begins: "Parser Error: "."""

WRITTEN_ROWS = "light_written"
"""The outcomes as labeling wrote them, whatever gate decides."""


REMEMBERED = 1024
"""Light files up to which DuckDB keeps the footers from one query to the next; that of each takes it 0.15 MB."""


class Catalog:
    """Answers SQL about a data set as it was when it was opened; not for several threads.

    Args:
        data: its folder, or one that is opened already and outlives the catalog: then the answers are about what is
            bound to it, a recipe or a snapshot.
        snapshot: name of a snapshot of the folder; then the answers are about its labels, weights, reviews and
            decisions.
        gate: name or hash of the gate of the folder that decides; see `storage.data_set.DataSet.open`.

    Attributes:
        problems: files that are left out because they are torn, foreign or incomplete.
        gates: recipe -> the gate that decides about its labels, where it is not what labeling wrote.

    Raises:
        ConfigError: `data` is not a folder, or has no such snapshot.
        ShardError: a folder cannot be listed, or something that the snapshot lists is not there any more.
    """

    def __init__(self, data: Path | str | DataSet, snapshot: str | None = None, gate: str | None = None) -> None:
        opened = data if isinstance(data, DataSet) else DataSet.open(data, snapshot=snapshot, gate=gate)
        self._own = None if opened is data else opened
        self.gates = opened.gates
        configs, unreadable = recipes.read(opened.folder)
        self.problems: tuple[Problem, ...] = (*opened.problems, *unreadable)
        self._connection = duckdb.connect(":memory:", config={"autoload_known_extensions": False})
        try:
            self._define_views(opened, configs)
        except duckdb.Error as error:
            self.close()
            raise ShardError(f"a file of '{opened.folder}' is damaged or gone ({error}); open it again") from error

    @property
    def error(self) -> ShardError | None:
        """All problems as one error to show; None where every file is in use."""
        return layout.as_error(self.problems)

    def sql(self, query: str, **parameters: Any) -> pa.Table:
        """Run one SELECT over the views; `$name` in it takes the parameter of that name.

        Raises:
            ConfigError: the query is not a single SELECT, or DuckDB refuses it.
            ShardError: a file turned out to be damaged, or vanished, while it was read.
        """
        try:
            statements = self._connection.extract_statements(query)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise ConfigError(f"the catalog is read only and runs one SELECT at a time, got {query.strip()!r}")
            return self._connection.sql(query, params=parameters).to_arrow_table()
        except _REFUSED as error:
            raise ConfigError(
                f"{_said(error)}\nThe views are: {', '.join(view.name for view in VIEWS)}; 'ivm sql --data DIR' lists "
                "their columns."
            ) from error
        except duckdb.Error as error:
            raise ShardError(
                f"a file of the data set is damaged or gone ({error}); storage.upkeep.verify.verify finds out which"
            ) from error

    def lend(self, name: str, rows: pa.Table) -> None:
        """Let queries see a table beside the views."""
        self._connection.register(name, rows)

    def query(self, name: str, **parameters: Any) -> pa.Table:
        """Run a named query of `storage.sql.queries`; values may be text and are turned into the parameter's type.

        Raises:
            ConfigError: no such query or parameter, or a value of another type.
        """
        query = queries.load(name)
        return self.sql(query.sql, **query.bind(parameters))

    def describe(self) -> pa.Table:
        """Every column of every view: view, column, type, description, in the order in which to read about them."""
        rows = [
            {"view": view.name, "column": column, "type": str(kind), "description": view.columns[column]}
            for view in VIEWS
            for column, kind, *_ in self._connection.execute(f"DESCRIBE {view.name}").fetchall()
        ]
        return pa.Table.from_pylist(rows)

    def close(self) -> None:
        """Let go of DuckDB's memory, and of the files where the catalog opened them."""
        self._connection.close()
        if self._own:
            self._own.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _define_views(self, opened: DataSet, configs: Mapping[str, str]) -> None:
        register(self._connection)
        if len(opened.by_kind["light"]) <= REMEMBERED:
            self._connection.execute("SET parquet_metadata_cache = true")
        self._define_files(opened)
        self._connection.execute("CREATE TABLE recipes_files (recipe VARCHAR, config VARCHAR)")
        for config in configs.items():
            self._connection.execute("INSERT INTO recipes_files VALUES (?, ?)", config)
        for view in VIEWS:
            self._connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
        self._shut([path for paths in opened.by_kind.values() for path in paths])

    def _define_files(self, opened: DataSet) -> None:
        """A view or table `<kind>_files` of each kind: the rows that count, and that a snapshot lists."""
        if opened.snapshot:
            parts = [{"recipe": e.owner, "part": e.part} for e in opened.snapshot.entries if e.kind == "labels"]
            self._define("snapshot_parts", [], pa.Table.from_pylist(parts, schema=_PARTS))
        self._define("superseded_rows", [], opened.superseded)
        gone = opened.by_kind["light"] if len(opened.superseded) else []
        of_these = " SEMI JOIN superseded_rows USING (recipe, part, position)"
        older = opened.scanned.older
        self._define("superseded_files", gone, pa.Table.from_batches([], layout.SCHEMAS["light"]), of_these, older)
        for kind, expected in layout.SCHEMAS.items():
            only = " SEMI JOIN snapshot_parts USING (recipe, part)" if opened.snapshot and kind in _OF_PARTS else ""
            if len(opened.superseded) and kind in _OF_OUTCOMES:
                only += " ANTI JOIN superseded_rows USING (recipe, part, position)"
            # Not `expected.empty_table()`: making an Arrow array of Python values imports pandas, a second of CPU.
            name = WRITTEN_ROWS if kind == "light" else f"{kind}_files"
            self._define(name, opened.by_kind[kind], pa.Table.from_batches([], expected), only, older)
        self._define_opinions(opened.by_kind["weights"])
        self._connection.execute(f"CREATE VIEW light_files AS {self.decided(opened.gates)}")

    def _define_opinions(self, files: Sequence[Path]) -> None:
        """What judges said, with the part that each file is named after; see `storage.gates.opinions`."""
        rows = "SELECT *, '' AS filename FROM weights_files"
        if files:
            self._set("opinions", files)
            rows = "FROM read_parquet(getvariable('opinions'), filename = true)"
        self._connection.execute(
            f"CREATE VIEW {in_sql.OPINIONS} AS "
            f"SELECT recipe, parse_filename(filename, true) AS part, sample_id, discriminator, d FROM ({rows})"
        )

    def decided(self, gates: Mapping[str, Gate]) -> str:
        """A SELECT of every outcome as some gates decide, with the columns of the view `outcomes`."""
        return in_sql.decided(gates, WRITTEN_ROWS, derive=bool(gates) and self._has_older_labels())

    def _has_older_labels(self) -> bool:
        """Whether some label is from before the column `incomplete`."""
        query = f"SELECT 1 FROM {WRITTEN_ROWS} WHERE outcome = 'label' AND incomplete IS NULL LIMIT 1"
        return bool(self._connection.execute(query).fetchall())

    def _define(
        self,
        name: str,
        files: Sequence[Path],
        columns: pa.Table,
        only: str = "",
        older: Collection[Path] = frozenset(),
    ) -> None:
        """A view over the files, or a table with the same columns where there are none.

        Args:
            columns: an empty table of them.
            only: clause that keeps some of the rows.
            older: files that may lack some of the columns.
        """
        same, lacking = ([path for path in files if (path in older) == odd] for odd in (False, True))
        if lacking or not files:
            empty = f"{name}_columns" if files else name
            self._connection.register("arrow_rows", columns)
            self._connection.execute(f"CREATE TABLE {empty} AS FROM arrow_rows")
            self._connection.unregister("arrow_rows")
        if files:
            read = [self._parquet(f"{name}_{n}", some) for n, some in enumerate((same, lacking)) if some]
            # Not union_by_name, which reads every footer again in each query.
            rows = " UNION ALL BY NAME ".join([f"FROM {name}_columns", *read]) if lacking else read[0]
            self._connection.execute(f"CREATE VIEW {name} AS FROM ({rows}){only}")

    def _parquet(self, name: str, files: Sequence[Path]) -> str:
        """Rows of files, whose paths are a variable of that name: as text they would be parsed in each query."""
        self._set(name, files)
        return f"FROM read_parquet(getvariable('{name}'))"

    def _set(self, variable: str, files: Sequence[Path]) -> None:
        self._connection.execute(
            f"SET VARIABLE {variable} = $files", {"files": [os.path.abspath(one) for one in files]}
        )

    def _shut(self, files: Sequence[Path]) -> None:
        """From here on SQL reaches these files and nothing else: no other path, no extension, no setting."""
        self._set("every", files)
        self._connection.execute("SET allowed_paths = getvariable('every')")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")


def _said(error: duckdb.Error) -> str:
    """What DuckDB says of a query, without the name of the error's class."""
    return "the query cannot run: " + _CLASS.sub("", str(error).strip())
