"""OpenImages V5+ segmentations (Benenson et al. 2019): `train-annotations-object-segmentation.csv` and mask PNGs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import duckdb

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.wording import Template
from storage.common.validation import Checked
from storage.errors import ConfigError

_ROWS = """
    SELECT ImageID, LabelName, MaskPath
    FROM read_csv(?, header = true, delim = ',', quote = '"', all_varchar = true, store_rejects = true)
    ORDER BY ALL
"""
_REJECTED = "SELECT line, min(error_message) FROM reject_errors GROUP BY line ORDER BY line"
FETCH = 10_000


@dataclass(frozen=True)
class OpenImagesConfig(Checked):
    """Which files.

    Attributes:
        masks_csv: `train-annotations-object-segmentation.csv` or that of another split.
        classes: `class-descriptions-boxable.csv` or `oidv7-class-descriptions.csv`, label to name.
        images: folder of the image files, relative to the image root.
        masks: folder of the mask PNGs, relative to the image root.
        instruction: with `{name}` for the class.
        held_out: these pairs only score.
    """

    masks_csv: str
    classes: str
    images: str = "openimages/train"
    masks: str = "openimages/train-masks"
    instruction: Template = "Find every {name}."
    held_out: bool = False


def read_openimages(config: OpenImagesConfig) -> Iterator[Record]:
    """OpenImages: each class of an image is an instruction, all its mask files are the masks.

    Reads: *-annotations-object-segmentation.csv, class-descriptions-boxable.csv, mask PNGs
    """
    path = existing(config.masks_csv, "masks_csv")
    names = _class_names(existing(config.classes, "classes"))
    for row in _sorted_groups(path):
        if isinstance(row, BadRecord):
            yield row
        else:
            image, label, masks = row
            yield from checked(f"{path.name}: image {image}, {label}", _pairs, image, label, masks, names, config)


def _pairs(
    image: str, label: str, masks: list[str], names: dict[str, str], config: OpenImagesConfig
) -> Iterator[ForeignPair]:
    yield ForeignPair(
        image=image_path(config.images, f"{image}.jpg"),
        instruction=config.instruction.format(name=_name(names, label)),
        kind="all",
        held_out=config.held_out,
        unite=True,
        targets=tuple({"mask": image_path(config.masks, mask), "resize": True} for mask in masks),
    )


def _name(names: dict[str, str], label: str) -> str:
    if label not in names:
        raise ValueError(f"the classes have no label {label!r:.40}")
    return names[label]


def _class_names(path: Path) -> dict[str, str]:
    """Label -> name, in lower case as one speaks; V7's file has a header line, which is no label's."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return {row[0]: row[1].lower() for row in csv.reader(lines) if len(row) == 2}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"'{path}' is no CSV of labels and names: {error}") from error


def _sorted_groups(path: Path) -> Iterator[tuple[str, str, list[str]] | BadRecord]:
    """(image, label, mask files), sorted by DuckDB, on disk where memory is short; then the lines it could not read."""
    with duckdb.connect() as database:
        try:
            rows = _fetched(database.execute(_ROWS, [str(path)]))
            for (image, label), group in groupby(rows, key=lambda row: row[:2]):
                yield image, label, [mask for _, _, mask in group]
            bad = database.execute(_REJECTED).fetchall()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"'{path}' is no CSV with ImageID, LabelName and MaskPath: {reason}") from error
    yield from (BadRecord(f"{path.name}: line {line}", message[:200]) for line, message in bad)


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str, str]]:
    while rows := result.fetchmany(FETCH):
        yield from rows
