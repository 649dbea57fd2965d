"""Reading: stream what is committed, a row group at a time, and only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import layout, schema, snapshots
from storage import part_files as parts
from storage.errors import ConfigError, ShardError
from storage.files import in_use
from storage.records import Label, Rejection, Rle
from storage.rows import to_label, to_rejection
from storage.snapshots import Snapshot

if TYPE_CHECKING:
    import pyarrow.dataset as ds


def iter_light(
    data: Path,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    recipe: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream the outcomes as Arrow batches with the columns of `storage.schema.LIGHT`.

    Args:
        columns: names to read; all by default. Only their bytes leave the disk.
        where: keeps matching rows, e.g. `pc.field("status") == "accepted"`; may use columns that are not read.
        recipe: only this recipe's parts.
    """
    if unknown := set(columns or ()) - set(schema.LIGHT.names):
        raise ConfigError(f"no such columns: {sorted(unknown)}; the columns are {schema.LIGHT.names}")
    files = layout.label_files(data, recipe)
    dataset = _open(files, schema.LIGHT)
    # Little readahead: the default holds up to 64 batches in memory.
    yield from dataset.to_batches(columns=columns, filter=where, batch_readahead=1, fragment_readahead=1)


def iter_labels(
    data: Path, where: pc.Expression | None = None, recipe: str | None = None, snapshot: Snapshot | None = None
) -> Iterator[Label]:
    """Stream whole labels with images and masks, of now or of a snapshot, in order of part and position.

    A heavy row group of which no row passes `where` is not read. A compaction meanwhile changes nothing.
    """
    with in_use(data / "labels"):
        for path in snapshots.trusted(data, "light", snapshot, recipe):
            wanted = _and(where, snapshot and pc.field("part").isin(snapshot.parts(path.parent.name)))
            # Counting reads only the columns that the condition names, so files without a match cost little.
            if wanted is None or _open([path]).count_rows(filter=wanted & _is_label()):
                yield from _read_pair(path, wanted)


def iter_rejections(data: Path, recipe: str | None = None) -> Iterator[Rejection]:
    """Stream the inputs that ended without a label."""
    for batch in iter_light(data, where=~_is_label(), recipe=recipe):
        yield from map(to_rejection, batch.to_pylist())


def read_labels(data: Path, sample_ids: Iterable[str], recipe: str | None = None) -> dict[str, Label]:
    """Whole labels by sample id; ids without a label are left out.

    Raises:
        ConfigError: `recipe` is not given and several recipes have labels.
    """
    where = pc.field("sample_id").isin(list(sample_ids))
    return {label.sample.id: label for label in iter_labels(data, where, only_recipe(data, recipe))}


def read_label(data: Path, recipe: str, part: str, sample_id: str) -> Label | None:
    """One label of a known part, without a look at any other file; None where there is none.

    Raises:
        ShardError: the part's files cannot be used.
    """
    path = layout.light_path(data, recipe, part)
    if not path.exists():
        compacted = parts.in_compacted(path.parent, layout.LIGHT)
        path = next((several for several, one in compacted if one.name == part), path)
    where = (pc.field("sample_id") == sample_id) & (pc.field("part") == part)
    try:
        return next(_read_pair(path, where), None)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"part {part!r} cannot be read ({error}); label it again") from error


def read_masks(data: Path, sample_ids: Iterable[str], recipe: str | None = None) -> dict[str, Rle]:
    """The label masks by sample id, without reading an image; ids without a label are left out.

    Raises:
        ConfigError: `recipe` is not given and several recipes have labels.
    """
    files = [layout.heavy_path(path) for path in layout.label_files(data, only_recipe(data, recipe))]
    dataset = _open(files, schema.HEAVY)
    where = pc.field("sample_id").isin(list(sample_ids))
    table = dataset.to_table(columns=["sample_id", "height", "width", "mask"], filter=where)
    return {row["sample_id"]: Rle(row["height"], row["width"], row["mask"]) for row in table.to_pylist()}


def only_recipe(data: Path, recipe: str | None, snapshot: Snapshot | None = None) -> str | None:
    """The given recipe, or the only one that has labels, now or in a snapshot; None where nothing is labelled yet."""
    recipes = sorted({path.parent.name for path in snapshots.trusted(data, "light", snapshot)})
    if recipe is None and len(recipes) > 1:
        raise ConfigError(f"'{data}' holds labels of {len(recipes)} recipes; choose one of {recipes}")
    return recipe or next(iter(recipes), None)


def _open(files: Sequence[Path], columns: pa.Schema | None = None) -> ds.Dataset:
    """Files as one Arrow data set. Imported here: `pyarrow.dataset` imports pandas, a second of CPU."""
    import pyarrow.dataset as ds

    return ds.dataset([str(path) for path in files], schema=columns, format="parquet")


def _is_label() -> pc.Expression:
    """Keeps labels. A function, as comparing with a value imports pandas too."""
    return pc.field("outcome") == "label"


def _and(first: pc.Expression | None, second: pc.Expression | None) -> pc.Expression | None:
    return second if first is None else first if second is None else first & second


def _read_pair(path: Path, where: pc.Expression | None) -> Iterator[Label]:
    """The labels of one file pair; its n-th label row and its n-th heavy row belong together."""
    with pq.ParquetFile(path) as light, pq.ParquetFile(layout.heavy_path(path)) as heavy:
        rows = _label_rows(light, where)
        for group in range(heavy.num_row_groups):
            wanted = [next(rows) for _ in range(heavy.metadata.row_group(group).num_rows)]
            if any(row is not None for row in wanted):
                yield from _join(path, wanted, heavy.read_row_group(group).to_pylist())


def _label_rows(light: pq.ParquetFile, where: pc.Expression | None) -> Iterator[dict[str, Any] | None]:
    """Each label row of the file; None for one that `where` leaves out."""
    for batch in light.iter_batches(batch_size=1024):
        labels = pa.Table.from_batches([batch]).filter(_is_label())
        numbered = labels.append_column("row", pa.array(range(len(labels)), pa.int64()))
        kept = numbered if where is None else numbered.filter(where)
        by_row = {row.pop("row"): row for row in kept.to_pylist()}
        yield from (by_row.get(row) for row in range(len(labels)))


def _join(path: Path, lights: list[dict[str, Any] | None], heavies: list[dict[str, Any]]) -> Iterator[Label]:
    images: dict[str, bytes] = {}
    for light, heavy in zip(lights, heavies, strict=True):
        if heavy["image"] is not None:
            images[heavy["image_sha"]] = heavy["image"]
        if light is None:
            continue
        if light["sample_id"] != heavy["sample_id"] or heavy["image_sha"] not in images:
            raise ShardError(
                f"'{path}' and its heavy file do not belong together; remove both and label the part again"
            )
        yield to_label(light, heavy | {"image": images[heavy["image_sha"]]})
