"""Our own manifest as a table: a Parquet file, or a folder that Hugging Face `datasets` saved.

The columns are the manifest's keys (see `ivm_data.sources.manifest`). An image column may hold paths, bytes, or
`datasets.Image` structs with bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, Target, checked, existing
from storage.errors import ConfigError
from storage.extras import extra

ROWS_IN_MEMORY = 64


@dataclass(frozen=True)
class ParquetConfig:
    """Which file.

    Attributes:
        table: a Parquet file.
        image, instruction: names of these two columns.
    """

    table: str
    image: str = "image"
    instruction: str = "instruction"


@dataclass(frozen=True)
class HfDatasetConfig:
    """Which folder.

    Attributes:
        folder: what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.
        split: of a `DatasetDict`.
        image, instruction: names of these two columns.
    """

    folder: str
    split: str = ""
    image: str = "image"
    instruction: str = "instruction"


def read_parquet(config: ParquetConfig) -> Iterator[ForeignPair | BadRecord]:
    """Our manifest as Parquet: a row is a pair, as in JSONL.

    Reads: a Parquet file
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = existing(config.table, "table")
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, config)
            batches = file.iter_batches(batch_size=ROWS_IN_MEMORY)
            yield from _read(path.name, (row for batch in batches for row in batch.to_pylist()), config)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"'{path}' cannot be read as Parquet: {error}") from error


def read_hf_dataset(config: HfDatasetConfig) -> Iterator[ForeignPair | BadRecord]:
    """Our manifest as a Hugging Face datasets folder: a row is a pair; image bytes are stored beside the manifest.

    Reads: a folder that save_to_disk wrote
    """
    with extra("formats"):
        import datasets

    folder = existing(config.folder, "folder", folder=True)
    try:
        table = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises nearly every type on foreign folders
        raise ConfigError(f"'{folder}' was not written by save_to_disk: {error}") from error
    if isinstance(table, datasets.DatasetDict):
        if config.split not in table:
            raise ConfigError(f"set split to one of {', '.join(table)}, got {config.split!r}")
        table = table[config.split]
    _check_columns(folder, table.column_names, config)
    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    yield from _read(folder.name, iter(table), config)


def _check_columns(path: Path, columns: list[str], config: ParquetConfig | HfDatasetConfig) -> None:
    for name in (config.image, config.instruction):
        if name not in columns:
            raise ConfigError(f"'{path}' has no column {name!r}; its columns are {', '.join(columns)}")


def _read(
    name: str, rows: Iterator[dict[str, Any]], config: ParquetConfig | HfDatasetConfig
) -> Iterator[ForeignPair | BadRecord]:
    for position, row in enumerate(rows):
        yield from checked(f"{name}: row {position}", _pairs, row, config)


def _pairs(row: dict[str, Any], config: ParquetConfig | HfDatasetConfig) -> Iterator[ForeignPair]:
    targets, mask = row.get("targets"), row.get("mask")
    marked = [*(targets or ()), *([] if mask is None else [{"mask" if isinstance(mask, str) else "mask_rle": mask}])]
    yield ForeignPair(
        image=_image(row[config.image]),
        instruction=row[config.instruction],
        kind=row.get("kind") or "",
        difficulty=row.get("difficulty") or "",
        held_out=bool(row.get("held_out")),
        targets=None if targets is None and mask is None else tuple(_target(one) for one in marked),
        source=row.get("source") or "",
    )


def _image(value: Any) -> str | bytes:
    """A path or bytes. A struct's own path is one of the machine that wrote it, and is not followed."""
    image = value["bytes"] if isinstance(value, dict) else value
    if not isinstance(image, str | bytes) or not image:
        raise ValueError(f"an image must be a path or bytes, got {str(value)[:60]}")
    return image


def _target(value: Any) -> Target:
    """A struct has every key that any row has: those without a value are left out. Counts may be bytes."""
    target = {name: one for name, one in value.items() if one is not None}
    counts = target["mask_rle"]["counts"] if "mask_rle" in target else None
    return (
        target | {"mask_rle": target["mask_rle"] | {"counts": counts.decode()}} if isinstance(counts, bytes) else target
    )
