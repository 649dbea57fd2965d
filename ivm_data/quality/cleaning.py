"""Cleaning: look at what a rule finds, keep it out of use, take it back. Decisions are appended, nothing is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ivm_data.quality.rules import Rule, rule, rules
from storage.catalog import Catalog
from storage.common.sql_files import fill, load
from storage.data_set import DataSet
from storage.tables.decisions import FoundLabel, decide

SQL = load("ivm_data.quality", "sql")


@dataclass(frozen=True)
class Preview:
    """What a rule would exclude.

    Attributes:
        parameters: as the rule took them.
        by_source: labels, found, share, accepted among found, and human IoU of found and others, by source.
        examples: some of the labels, an even choice.
        found: all of them, with reasons.
    """

    rule: Rule
    parameters: dict[str, Any]
    by_source: pa.Table
    examples: pa.Table
    found: tuple[FoundLabel, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """A rule in the list: labels that it finds, and labels that it excludes now."""

    rule: Rule
    found: int
    excluded: int


def overview(data: Path) -> list[Overview]:
    """Every rule with its parameters' defaults, and what counts of its decisions."""
    with DataSet.open(data) as opened, Catalog(opened) as catalog:
        excluding = [decision.rule for decision in opened.decisions() if decision.verdict == "exclude"]
        return [Overview(one, len(_find(catalog, one, {})), excluding.count(one.name)) for one in rules()]


def preview(data: Path, name: str, values: Mapping[str, Any] | None = None, limit: int = 10) -> Preview:
    """What a rule finds, with `limit` examples; nothing is written.

    Raises:
        ConfigError: no such rule or parameter.
    """
    chosen = rule(name)
    parameters = chosen.query.bind(values or {})
    with Catalog(data) as catalog:
        table = _find(catalog, chosen, values or {})
        found = tuple(
            FoundLabel(row["recipe"], row["sample_id"], chosen.explain(row["value"], parameters))
            for row in table.to_pylist()
        )
        by_source, examples = (
            catalog.sql(fill(SQL[shown], {"rule": chosen.query.sql, "limit": str(int(limit))}), **parameters)
            for shown in ("by_source", "examples")
        )
    return Preview(chosen, parameters, by_source, examples, found)


def apply(data: Path, previewed: Preview, who: str) -> int:
    """Exclude what a preview found and the rule does not exclude yet; returns how many labels those were."""
    kept_out = _excluded_by(data, previewed.rule.name)
    fresh = [one for one in previewed.found if (one.recipe, one.sample_id) not in kept_out]
    decide(data, previewed.rule.name, previewed.rule.scope, "exclude", fresh, parameters=previewed.parameters, who=who)
    return len(fresh)


def undo(data: Path, name: str, who: str) -> int:
    """Include again all that a rule excludes; returns how many labels those were.

    Raises:
        ConfigError: no such rule.
    """
    chosen = rule(name)
    found = [FoundLabel(recipe, sample_id, "undone") for recipe, sample_id in sorted(_excluded_by(data, name))]
    decide(data, name, chosen.scope, "include", found, parameters={}, who=who)
    return len(found)


def _find(catalog: Catalog, chosen: Rule, values: Mapping[str, Any]) -> pa.Table:
    return catalog.sql(
        f"SELECT recipe, sample_id, value FROM ({chosen.query.sql}) ORDER BY ALL", **chosen.query.bind(values)
    )


def _excluded_by(data: Path, name: str) -> set[tuple[str, str]]:
    with DataSet.open(data) as opened:
        return {(d.recipe, d.sample_id) for d in opened.decisions() if d.rule == name and d.verdict == "exclude"}
