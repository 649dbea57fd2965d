"""Whole labels out of light and heavy files, a few hundred in memory at a time.

Small files are read several at once, large ones a row group at a time: so a label costs the same wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ShardError
from storage.gates import in_arrow
from storage.gates.gate import Gate
from storage.parts import layout, schema
from storage.parts.files import readable
from storage.parts.rows import to_label
from storage.reading import reader
from storage.reading.bulk import blocks, light_table
from storage.reading.counting import scratch
from storage.records import Label

if TYPE_CHECKING:
    import pyarrow.compute as pc

TOGETHER = 512
"""Rows of small files that are read at once, with their images."""


def stream(
    lights: Mapping[Path, int],
    where: Callable[[Sequence[Path]], pc.Expression | None],
    counting: pc.Expression | None = None,
    gates: Mapping[str, Gate] | None = None,
    older: Collection[Path] = (),
) -> Iterator[Label]:
    """Stream the labels of light files and the heavy files beside them, in their order.

    Args:
        lights: file -> its rows.
        where: gives what keeps matching rows of some of the files; it sees what the gates decide.
        counting: keeps matching rows of what was written.
        gates: by recipe; see `storage.gates.in_arrow.decided`.
        older: files that may lack `storage.parts.schema.LATER`.

    Raises:
        ShardError: a file is damaged or gone, or two files do not belong together.
    """
    with scratch() as connection:
        for block in blocks(list(lights.values()), TOGETHER):
            some = list(lights)[block]
            if len(some) == 1:
                yield from labels(some[0], where(some), counting, gates)
            else:
                odd = not set(older).isdisjoint(some)
                rows = light_table(some, schema.LIGHT.names, odd, "outcome = 'label'", connection=connection)
                yield from _together(some, rows, reader.both(where(some), counting), gates or {})


def labels(
    light: Path,
    where: pc.Expression | None = None,
    counting: pc.Expression | None = None,
    gates: Mapping[str, Gate] | None = None,
) -> Iterator[Label]:
    """Stream the labels of one light file; see `stream`. A heavy row group of which no row passes is not read."""
    # Counting reads only the columns that the condition names, so a file without a match costs little.
    with readable(light):
        decides = bool(gates) and not in_arrow.DECIDED_SET.isdisjoint(in_arrow.mentions(where))
        written = counting if decides else reader.both(where, counting)
        if written is None or reader.opened([light], schema.LIGHT).count_rows(filter=written & reader.is_label()):
            with pq.ParquetFile(light) as file:
                yield from _joined(light, _light_rows(file, reader.both(where, counting), gates or {}))


def _together(
    lights: Sequence[Path], rows: pa.Table, where: pc.Expression | None, gates: Mapping[str, Gate]
) -> Iterator[Label]:
    """The labels of several small files, whose label rows are `rows`."""
    file_N = rows["file"].to_numpy()
    row_N = np.arange(len(rows)) - np.searchsorted(file_N, file_N)
    numbered = in_arrow.decided(rows, gates).append_column("row", pa.array(row_N))
    kept = (numbered if where is None else numbered.filter(where)).to_pylist()
    for number, of_file in groupby(kept, key=itemgetter("file")):
        by_row = {row["row"]: row for row in of_file}
        with readable(lights[number]):
            yield from _joined(lights[number], map(by_row.get, range(int((file_N == number).sum()))))


def _light_rows(
    light: pq.ParquetFile, where: pc.Expression | None, gates: Mapping[str, Gate]
) -> Iterator[dict[str, Any] | None]:
    """Each label row of the file; None for one that `where` leaves out."""
    for batch in light.iter_batches(batch_size=1024):
        labels = in_arrow.decided(pa.Table.from_batches([batch]).filter(reader.is_label()), gates)
        numbered = labels.append_column("row", pa.array(range(len(labels)), pa.int64()))
        kept = numbered if where is None else numbered.filter(where)
        by_row = {row.pop("row"): row for row in kept.to_pylist()}
        yield from (by_row.get(row) for row in range(len(labels)))


def _joined(path: Path, rows: Iterator[dict[str, Any] | None]) -> Iterator[Label]:
    """Each label row of a light file with its heavy row; the n-th of both belong together.

    Args:
        rows: of the light file; None for one that is not wanted.
    """
    with pq.ParquetFile(layout.heavy_path(path)) as heavy:
        for group in range(heavy.num_row_groups):
            wanted = list(islice(rows, heavy.metadata.row_group(group).num_rows))
            if any(row is not None for row in wanted):
                yield from _labels(path, wanted, heavy.read_row_group(group, use_threads=False).to_pylist())
    if any(True for _ in rows):
        raise _apart(path)


def _labels(path: Path, lights: list[dict[str, Any] | None], heavies: list[dict[str, Any]]) -> Iterator[Label]:
    images: dict[str, bytes] = {}
    if len(lights) != len(heavies):
        raise _apart(path)
    for light, heavy in zip(lights, heavies, strict=True):
        if heavy["image"] is not None:
            images[heavy["image_sha"]] = heavy["image"]
        if light is None:
            continue
        if light["sample_id"] != heavy["sample_id"] or heavy["image_sha"] not in images:
            raise _apart(path)
        yield to_label(light, heavy | {"image": images[heavy["image_sha"]]})


def _apart(path: Path) -> ShardError:
    return ShardError(f"'{path}' and its heavy file do not belong together; remove both and label the part again")
