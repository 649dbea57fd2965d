"""Choose labels, stream them through a format's writer, and let the folder appear whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ivm_data.exports import formats as registry
from ivm_data.exports.condition import condition
from ivm_data.exports.export_format import Counts, Item
from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.reader import iter_labels, only_recipe
from storage.records import Status

MARKER = ".ivm-export.json"
"""In every folder that an export wrote: what it is, and that it may be replaced."""


@dataclass(frozen=True)
class Selection:
    """Which labels to export, and whose masks.

    Attributes:
        statuses: of `storage.records.Status`.
        recipe: hash; may be left out where the data set holds only one.
        where: an SQL condition over the `labels` view, such as `quality > 0.9`.
        human: where a person drew a mask it is exported instead of the engine's.
    """

    statuses: tuple[str, ...] = (Status.ACCEPTED.value, Status.NO_TARGET.value)
    recipe: str | None = None
    where: str = ""
    human: bool = False

    def __post_init__(self) -> None:
        if not self.statuses or (unknown := set(self.statuses) - set(Status)):
            seen = ", ".join(sorted(unknown)) if self.statuses else "none"
            raise ConfigError(f"a status must be one of {', '.join(Status)}, got {seen}")


def export(name: str, data: Path, out: Path, selection: Selection, options: Mapping[str, Any]) -> Counts:
    """Export a data set; the same labels and options always give the same bytes.

    Labels that cleaning excludes are left out. Images and masks pass through one row group at a time.

    Args:
        name: a format of `registry`.
        out: folder to make. One that an export wrote, and nobody added to, is replaced; any other that is not empty is
            refused.

    Raises:
        ConfigError: an unknown format or option, a condition that SQL refuses, no label that matches, or such an `out`.
    """
    write = registry.writer(name, options)
    _check_free(out)
    selection = replace(selection, recipe=only_recipe(data, selection.recipe))
    chosen = _choose(data, selection)
    hidden = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    counts = write(_items(data, chosen, selection), hidden)
    made = {"format": name, "options": dict(options), **asdict(selection)}
    marker = made | {"counts": asdict(counts), "files": _files(hidden) + 1}
    (hidden / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    _swap(hidden, out)
    return counts


def _check_free(out: Path) -> None:
    marker = out / MARKER
    if marker.is_file():
        written, found = json.loads(marker.read_text(encoding="utf-8"))["files"], _files(out)
        if found != written:
            raise ConfigError(
                f"'{out}' holds {found} files and an export wrote {written} of them; remove it, or give another --out"
            )
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"'{out}' was not written by an export and is left as it is; give another --out")


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _choose(data: Path, selection: Selection) -> pa.ChunkedArray:
    """Sample ids."""
    query = "SELECT sample_id FROM clean_labels WHERE recipe = $recipe AND list_contains($statuses, status)"
    if selection.where:
        query = f"{query} AND {condition(selection.where)}"
    with Catalog(data) as catalog:
        found = catalog.sql(query, recipe=selection.recipe, statuses=list(selection.statuses))["sample_id"]
    if not len(found):
        meets = f" and meets '{selection.where}'" if selection.where else ""
        raise ConfigError(
            f"no label of '{data}' is {' or '.join(selection.statuses)}{meets}; see: ivm query --data {data} summary"
        )
    return found


def _items(data: Path, chosen: pa.ChunkedArray, selection: Selection) -> Iterator[Item]:
    for label in iter_labels(data, pc.field("sample_id").isin(chosen), selection.recipe):
        human = label.sample.human_mask if selection.human else None
        yield Item(label, label.mask) if human is None else Item(label, human, "human")


def _swap(written: Path, out: Path) -> None:
    """Give the folder its name; what an earlier export left under it goes away."""
    earlier = out.with_name(f".{out.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if out.exists():
        os.replace(out, earlier)
    os.replace(written, out)
    shutil.rmtree(earlier, ignore_errors=True)
