"""Our own manifest as a table: Parquet files, or a folder that Hugging Face `datasets` saved.

The columns are the manifest's keys (see `ivm_data.sources.manifest`). A column of images or masks may hold paths,
bytes, or `datasets.Image` structs with bytes; a mask also an RLE object, or a list of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked, existing
from ivm_data.sources.manifest_keys import misnamed, truth
from ivm_data.sources.mask_pictures import PictureRule, kept_pixels
from storage.common.extras import extra
from storage.errors import ConfigError

ROWS_IN_MEMORY = 64
OWN_MASK = "mask_image"
"""Column of our own export; black all over means there that the target is absent."""

_SPLIT = re.compile(r"(?:^|[/_.-])(train|training|test|testing|val|valid|validation|dev)(?=[/_.-]|$)")
_ONE_NAME = {"training": "train", "testing": "test", "valid": "val", "validation": "val", "dev": "val"}


@dataclass(frozen=True)
class ParquetConfig:
    """Which files.

    Attributes:
        table: a Parquet file, a folder of them, or a pattern such as `data/train-*.parquet`.
        image, instruction, mask: names of these three columns; a table need not have the last one.
    """

    table: str
    image: str = "image"
    instruction: str = "instruction"
    mask: str = "mask"


@dataclass(frozen=True)
class HfDatasetConfig:
    """Which folder.

    Attributes:
        folder: what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.
        split: of a `DatasetDict`.
        image, instruction, mask: names of these three columns; a table need not have the last one.
    """

    folder: str
    split: str = ""
    image: str = "image"
    instruction: str = "instruction"
    mask: str = "mask"


Config = ParquetConfig | HfDatasetConfig


def read_parquet(config: ParquetConfig) -> Iterator[Record]:
    """Our manifest as Parquet: a row is a pair, as in JSONL; bytes of images and masks are stored beside the manifest.

    Reads: a Parquet file, a folder of them, or a pattern
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in parquet_files(config.table, "table"):
        try:
            with pq.ParquetFile(path) as file:
                _check_columns(path, file.schema_arrow.names, config)
                batches = file.iter_batches(batch_size=ROWS_IN_MEMORY)
                yield from _read(path.name, (row for batch in batches for row in batch.to_pylist()), config)
        except ConfigError:
            raise
        except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"'{path}' cannot be read as Parquet: {str(error)[:300]}") from error


def read_hf_dataset(config: HfDatasetConfig) -> Iterator[Record]:
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
        table = table.cast_column(name, _undecoded(feature))
    yield from _read(folder.name, iter(table), config)


def parquet_files(table: str, field: str) -> list[Path]:
    """The Parquet files that a path, a folder or a pattern names.

    Raises:
        ConfigError: none, or those of several splits.
    """
    path = Path(table)
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else _matching(table)
    if not found:
        raise ConfigError(
            f"'{table}' is no Parquet file, no folder of them, and no pattern that any has; set {field} to one of these"
        )
    root = path if path.is_dir() else path.parent
    splits = {_split(str(one.relative_to(root)) if one.is_relative_to(root) else one.name) for one in found} - {""}
    if len(splits) > 1:
        raise ConfigError(
            f"'{table}' holds the splits {', '.join(sorted(splits))}; import each alone, so that what is tested on "
            f"does not train: {field}='{root}/**/{min(splits)}*.parquet'"
        )
    return found


def _matching(pattern: str) -> list[Path]:
    import glob

    try:
        return sorted(path for one in glob.glob(pattern, recursive=True) if (path := Path(one)).is_file())
    except (OSError, ValueError, re.error):
        return []


def _split(name: str) -> str:
    found = _SPLIT.search(name.lower())
    return _ONE_NAME.get(found[1], found[1]) if found else ""


def _undecoded(feature: Any) -> Any:
    """The feature with images as they are stored, at any depth."""
    import datasets

    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if isinstance(feature, datasets.List):
        return datasets.List(_undecoded(feature.feature), length=feature.length)
    return feature


def _check_columns(path: Path, columns: list[str], config: Config) -> None:
    for name in (config.image, config.instruction):
        if name not in columns:
            raise ConfigError(f"'{path}' has no column {name!r}; its columns are {', '.join(columns)}")
    if config.mask != "mask" and config.mask not in columns:
        raise ConfigError(f"'{path}' has no column {config.mask!r}; its columns are {', '.join(columns)}")
    own = {config.image, config.instruction, config.mask}
    if problem := misnamed([name for name in columns if name not in own or name == "mask"]):
        raise ConfigError(f"'{path}': {problem}")


def _read(name: str, rows: Iterator[dict[str, Any]], config: Config) -> Iterator[Record]:
    for position, row in enumerate(rows):
        yield from checked(f"{name}: row {position}", _pairs, row, config)


def _pairs(row: dict[str, Any], config: Config) -> Iterator[ForeignPair]:
    yield ForeignPair(
        image=_image(row[config.image]),
        instruction=row[config.instruction],
        kind=row.get("kind") or "",
        difficulty=row.get("difficulty") or "",
        held_out=truth("held_out", row.get("held_out")),
        targets=_targets(row, config),
        source=row.get("source") or "",
        ignore=tuple(_target(one) for one in row.get("ignore") or ()),
    )


def _targets(row: dict[str, Any], config: Config) -> tuple[Target, ...] | None:
    """What `targets` and the mask's column say; our own export's picture only where the table has no `targets`."""
    targets, mask = row.get("targets"), row.get(config.mask)
    if targets is None and mask is None and row.get(OWN_MASK) is not None:
        picture = _mask(row[OWN_MASK])
        is_ours = "mask_by" in row and isinstance(picture.get("mask"), bytes)
        return () if is_ours and not kept_pixels(picture["mask"], PictureRule()).any() else (picture,)
    if targets is None and mask is None:
        return None
    if not isinstance(targets, list | None):
        raise ValueError(f"'targets' must be a list, got {targets!r:.60}")
    masks = mask if isinstance(mask, list) else [] if mask is None else [mask]
    if mask == [] and not targets and targets is None:
        raise ValueError(f"{config.mask!r} is an empty list; where nothing is to be marked, 'targets' must be empty")
    return (*(_target(one) for one in targets or ()), *map(_mask, masks))


def _image(value: Any) -> str | bytes:
    """A path or bytes. A struct's own path is one of the machine that wrote it, and is not followed."""
    image = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(image, str | bytes) or not image:
        raise ValueError(f"an image must be a path or bytes, got {str(value)[:60]}")
    return image


def _mask(value: Any) -> Target:
    """A path, a picture's bytes, a struct with such bytes, or an RLE object."""
    if isinstance(value, dict) and {"size", "counts"} <= set(value):
        return _target({"mask_rle": value})
    mask = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(mask, str | bytes) or not mask:
        raise ValueError(f"a mask must be a path, a picture's bytes or run lengths, got {str(value)[:60]}")
    return {"mask": mask}


def _target(value: Any) -> Target:
    """A struct has every key that any row has: those without a value are left out. Counts may be bytes."""
    if not isinstance(value, dict):
        raise ValueError(f"a target must be an object, got {value!r:.60}")
    target = {name: one for name, one in value.items() if one is not None}
    if isinstance(target.get("mask"), dict | bytes):
        target |= _mask(target["mask"])
    if isinstance(target.get("mask_rle"), dict) and isinstance(target["mask_rle"].get("counts"), bytes):
        target["mask_rle"] = target["mask_rle"] | {"counts": target["mask_rle"]["counts"].decode("ascii")}
    return target
