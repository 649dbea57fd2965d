"""Rows of many light files as one table: DuckDB opens a small file in a quarter of the time that Arrow takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from storage import schema
from storage.counting import scratch

_ROWS = """
    SELECT {columns}, file, file_row
    FROM (
        FROM no_rows
        UNION ALL BY NAME
        SELECT *, file_index::BIGINT AS file, file_row_number AS file_row
        FROM read_parquet($files, union_by_name = {by_name})
    )
    WHERE {where}
    ORDER BY file, file_row"""


def light_table(
    lights: Sequence[Path], columns: Sequence[str], older: Collection[Path] = (), where: str = "true"
) -> pa.Table:
    """Rows of light files, file by file in their order.

    Args:
        columns: of `storage.schema.LIGHT`; NULL where a file is from before a column.
        older: files that may lack some.
        where: SQL condition over the rows.

    Returns:
        The columns, and of each row `file`, the index of its file, and `file_row`, its index in that; both int64.

    Raises:
        ShardError: a file turned out to be damaged, or vanished.
    """
    by_name = not set(older).isdisjoint(lights)
    query = _ROWS.format(columns=", ".join(f'"{name}"' for name in columns), by_name=by_name, where=where)
    with scratch() as connection:
        connection.register("no_rows", pa.Table.from_batches([], schema.LIGHT))
        return connection.sql(query, params={"files": [str(path) for path in lights]}).to_arrow_table()
