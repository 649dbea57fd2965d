"""Reading files that were found usable: a row group at a time, and only the columns that are asked for.

`storage.data_set.DataSet` knows which files those are, and calls this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storage.errors import ConfigError
from storage.gates import in_arrow
from storage.gates.gate import Gate
from storage.gates.in_arrow import mentions
from storage.parts import schema
from storage.parts.files import readable
from storage.records import Rle

if TYPE_CHECKING:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds


def light_batches(
    lights: Sequence[Path],
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    counting: pc.Expression | None = None,
    gates: Mapping[str, Gate] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of light files.

    Args:
        columns: names of `storage.parts.schema.LIGHT`; all by default. Only their bytes leave the disk.
        where: keeps matching rows; may use columns that are not read. It sees what the gates decide.
        counting: keeps matching rows of what was written.
        gates: by recipe; see `storage.gates.in_arrow.decided`.

    Raises:
        ConfigError: no such column.
    """
    if unknown := set(columns or ()) - set(schema.LIGHT.names):
        raise ConfigError(f"no such columns: {sorted(unknown)}; the columns are {schema.LIGHT.names}")
    wanted, late = list(columns or schema.LIGHT.names), mentions(where)
    decides = bool(gates) and not in_arrow.DECIDED_SET.isdisjoint([*wanted, *late])
    read = list(dict.fromkeys([*wanted, *late, *in_arrow.EVIDENCE])) if decides else columns
    pushed = counting if decides else both(where, counting)
    # Little readahead: the default holds up to 64 batches in memory.
    options = {"columns": read, "filter": pushed, "batch_readahead": 1, "fragment_readahead": 1}
    with _readable(lights):
        batches = opened(lights, schema.LIGHT).to_batches(**options)
        yield from _decided(batches, wanted, where, gates or {}) if decides else batches


def _decided(
    batches: Iterable[pa.RecordBatch], wanted: list[str], where: pc.Expression | None, gates: Mapping[str, Gate]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = in_arrow.decided(pa.Table.from_batches([batch]), gates)
        yield from (rows if where is None else rows.filter(where)).select(wanted).to_batches()


def masks(heavies: Sequence[Path], where: pc.Expression) -> dict[str, Rle]:
    """The label masks of matching rows by sample id, without reading an image."""
    with _readable(heavies):
        table = opened(heavies, schema.HEAVY).to_table(columns=["sample_id", "height", "width", "mask"], filter=where)
    return {row["sample_id"]: Rle(row["height"], row["width"], row["mask"]) for row in table.to_pylist()}


def among(column: str, values: Iterable[str] | pa.ChunkedArray) -> pc.Expression:
    """Keeps rows whose column has one of the values."""
    known = values if isinstance(values, pa.ChunkedArray) else pa.array(list(values), pa.string())
    return _field(column).isin(known)


def without(rows: pa.Table) -> pc.Expression:
    """Keeps all rows but these, which have columns recipe, part and position."""
    import pyarrow.compute as pc

    def key(recipe: Any, part: Any, position: Any) -> Any:
        return pc.binary_join_element_wise(recipe, part, position.cast(pa.string()), "/")

    columns = ("recipe", "part", "position")
    return ~key(*map(pc.field, columns)).isin(key(*(rows[name] for name in columns)))


def both(first: pc.Expression | None, second: pc.Expression | None) -> pc.Expression | None:
    """Keeps what both conditions keep; None keeps everything."""
    return second if first is None else first if second is None else first & second


def _readable(files: Sequence[Path]) -> AbstractContextManager[None]:
    """Errors of one of several files of a data set, which Arrow names."""
    return readable(files[0].parents[1]) if files else nullcontext()


def opened(files: Sequence[Path], columns: pa.Schema | None = None) -> ds.Dataset:
    """Files as one Arrow data set."""
    # Imported here: it imports pandas, a second of CPU.
    import pyarrow.dataset as ds

    return ds.dataset([str(path) for path in files], schema=columns, format="parquet")


def is_label() -> pc.Expression:
    """Keeps labels. A function, as comparing with a value imports pandas too."""
    return _field("outcome") == "label"


def _field(name: str) -> pc.Expression:
    # Imported here: the catalog does without, and it takes a tenth of a second.
    import pyarrow.compute as pc

    return pc.field(name)
