"""Deciding anew about labels that are there: look at what a gate changes, apply it, take it back; no expert runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ivm_data.config import build, override
from ivm_data.experts.registry import embedded
from ivm_data.quality.calibration import Calibration
from storage.catalog import Catalog
from storage.common.sql_files import fill, load
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates import book
from storage.gates.gate import Gate, GateConfig, Quality
from storage.tables import recipes

SQL = load("ivm_data.quality", "sql/gate")

WORDS: tuple[Quality, ...] = ("written", "uncalibrated")
"""Qualities that need no file: as labeling wrote it, and how far the experts agree."""


@dataclass(frozen=True)
class Preview:
    """What a gate would change; nothing is written.

    Attributes:
        before: name or hash of the gate that counts now, or "written".
        by_source, by_kind: labels of each status before and after; the last row is all of them.
        sides: labels that change their status, by both and by reason.
        changed: some of them, an even choice.
    """

    gate: Gate
    before: str
    by_source: pa.Table
    by_kind: pa.Table
    sides: pa.Table
    changed: pa.Table

    @property
    def moves(self) -> dict[str, str]:
        """Sample id -> "accepted -> review", of `changed`."""
        return {row["sample_id"]: f"{row['before']} -> {row['after']}" for row in self.changed.to_pylist()}


def current(data: DataSet) -> Gate:
    """The gate that decides about the one recipe's labels; where none was applied, the recipe's own thresholds over the
    quality that labeling wrote.

    Raises:
        ConfigError: see `DataSet.recipe`.
    """
    recipe = data.recipe
    if recipe in data.gates:
        return data.gates[recipe]
    config = recipes.load(data.folder, recipe).get("gate", {})
    return Gate(recipe, build(GateConfig, config, str(recipes.recipe_path(data.folder, recipe))))


def changed(gate: Gate, thresholds: Mapping[str, Any], calibration: str = "") -> Gate:
    """A gate with other thresholds or another quality; a promise about the old ones is gone.

    Args:
        thresholds: fields of `GateConfig`.
        calibration: a file of `ivm calibrate`, "zoo:NAME", or one of `WORDS`; "" leaves the quality as it is.

    Raises:
        ConfigError: thresholds that are out of order.
        WeightsError: a calibration that cannot be used.
    """
    quality = _quality(calibration) if calibration else gate.quality
    if "accept" in thresholds:
        gate = replace(gate, by="", accepts={})
    return replace(gate, config=override(gate.config, thresholds), quality=quality, promise=None)


def preview(data: DataSet, gate: Gate, limit: int = 10) -> Preview:
    """What a gate changes beside the one that the data set is opened with, with `limit` examples."""
    with Catalog(data) as catalog:
        words = {"after": catalog.decided({gate.recipe: gate}), "limit": str(int(limit))}
        tables = {name: catalog.sql(fill(text, words), recipe=gate.recipe) for name, text in SQL.items()}
    before = data.gates.get(gate.recipe)
    return Preview(gate, before.hash if before else book.WRITTEN, **tables)


def apply(data: Path, gate: Gate, *, name: str = "", who: str) -> book.Entry:
    """Make a gate current."""
    return book.apply(data, gate, name=name, who=who)


def same_evidence(data: Path, recipe: str) -> str:
    """Hash of another recipe with labels here that differs in nothing but its gate or calibration; "" for none."""
    with DataSet.open(data) as opened:
        others = [other for other in opened.recipes if other != recipe]
    wanted = _without_gate(recipes.load(data, recipe))
    return next((other for other in others if wanted and _without_gate(recipes.load(data, other)) == wanted), "")


def _without_gate(config: Mapping[str, Any]) -> dict[str, Any]:
    experts = [one for one in config.get("experts", ()) if one["role"] != "calibration"]
    kept = {name: value for name, value in config.items() if name not in ("name", "gate", "calibration")}
    return kept | {"experts": experts} if config else {}


def _quality(calibration: str) -> Quality:
    for word in WORDS:
        if calibration == word:
            return word
    path = Path(embedded(calibration))
    if not path.is_file():
        raise ConfigError(
            f"no calibration at '{calibration}'; give a file that 'ivm calibrate --out FILE' wrote, "
            f"zoo:calibration.json, or one of {', '.join(map(str, WORDS))}"
        )
    return Calibration.load(path).regressions
