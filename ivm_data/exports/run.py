"""Choose labels, stream them through a format's writer, and let the folder appear whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ivm_data.exports import formats as registry
from ivm_data.exports.condition import condition
from ivm_data.exports.export_format import Counts, Item
from ivm_data.quality.promised import sentence
from storage import outputs
from storage.catalog import Catalog
from storage.common.validation import Checked
from storage.data_set import DataSet
from storage.disk.publish import whole_folder
from storage.errors import ConfigError
from storage.outputs import Output
from storage.records import Status

MARKER = ".ivm-export.json"
"""In every folder that an export wrote: what it is, and that it may be replaced."""


@dataclass(frozen=True)
class Selection(Checked):
    """Which labels to export, and whose masks.

    Attributes:
        statuses: of `storage.records.Status`.
        recipe: hash; may be left out where the data set holds only one.
        where: an SQL condition over the `labels` view, such as `quality > 0.9`.
        human: where a person drew a mask it is exported instead of the engine's.
        gate: name or hash of the gate that decides; "" for the current one.
    """

    statuses: tuple[str, ...] = (Status.ACCEPTED.value, Status.NO_TARGET.value)
    recipe: str | None = None
    where: str = ""
    human: bool = False
    gate: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
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
    outputs.check(Output("an export of 'ivm export'", _is_export, folder=True), out, data)
    with DataSet.open(data, selection.recipe, gate=selection.gate) as opened:
        selection = replace(selection, recipe=opened.recipe)
        chosen = _choose(opened, selection)
        with whole_folder(out) as hidden:
            counts = write(_items(opened, chosen, selection), hidden)
            made = {"format": name, "options": dict(options), **asdict(selection)}
            decided = opened.gates.get(opened.recipe)
            if decided is not None:
                made |= {"gate": decided.hash, "promise": decided.promise}
                _tell(hidden, sentence(decided))
            marker = made | {"counts": asdict(counts), "files": _files(hidden) + 1}
            (hidden / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return counts


def _tell(folder: Path, promise: str) -> None:
    """Put a promise on the export's card, and make one where the format has none."""
    card = folder / "README.md"
    if promise:
        text = card.read_text(encoding="utf-8") if card.exists() else ""
        card.write_text(f"{text}\n{promise}\n" if text else f"{promise}\n", encoding="utf-8")


def _is_export(out: Path) -> bool:
    """Written by an export; one that somebody added to is an error of its own."""
    written, found = outputs.read_json(out / MARKER).get("files"), _files(out)
    if isinstance(written, int) and found != written:
        raise ConfigError(
            f"'{out}' holds {found} files and an export wrote {written} of them; remove it, or give another --out"
        )
    return written == found


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _choose(data: DataSet, selection: Selection) -> pa.Table:
    """Part and sample id of each label."""
    query = "SELECT part, sample_id FROM clean_labels WHERE recipe = $recipe AND list_contains($statuses, status)"
    if selection.where:
        query = f"{query} AND {condition(selection.where)}"
    with Catalog(data) as catalog:
        found = catalog.sql(query, recipe=selection.recipe, statuses=list(selection.statuses))
    if not len(found):
        meets = f" and meets '{selection.where}'" if selection.where else ""
        raise ConfigError(
            f"no label of '{data.folder}' is {' or '.join(selection.statuses)}{meets}; "
            f"see: ivm query --data {data.folder} summary"
        )
    return found


def _items(data: DataSet, chosen: pa.Table, selection: Selection) -> Iterator[Item]:
    for label in data.labels_of(chosen):
        human = label.sample.human_mask if selection.human else None
        yield Item(label, label.mask) if human is None else Item(label, human, "human")
