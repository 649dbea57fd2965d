"""One pair's whole story: what was asked, found, proposed and scored, and why it ended as it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.gates.book import WRITTEN
from storage.gates.gate import Gate
from storage.parts.schema import SCORES
from storage.records import REASONS

Row = dict[str, Any]

_LISTED = 8
"""Pairs that are named where a sample is not clear."""
_PAIR = ("part", "position", "image_uri", "width", "height", "source", "kind", "difficulty", "held_out", "instruction")


@dataclass(frozen=True)
class Rule:
    """A rule of the gate about one score.

    Attributes:
        score: its name.
        value: None where no expert gave it.
        asks: what the gate asks of it, with the recipe's thresholds.
        holds: whether it does; None where the value is not known.
    """

    score: str
    value: float | None
    asks: str
    holds: bool | None


def story(catalog: Catalog, sample: str, recipe: str = "") -> Row:
    """Everything that the data set knows of a pair, as plain values for JSON.

    Args:
        sample: the first digits of a sample's id, or the path of an image that only one pair has.
        recipe: hash of a recipe, or its first digits; needed where several labeled the pair.

    Raises:
        ConfigError: no such pair, or several.
    """
    row = _find(catalog, sample.strip(), recipe)
    keys = {"recipe": row["recipe"], "sample": row["sample_id"]}
    config, gate = _config(catalog, row["recipe"]), catalog.gates.get(row["recipe"])
    thresholds = config.get("gate", {}) if gate is None else asdict(gate.config) | _accept(gate, row)
    evidence = row["evidence"] or [{}] * len(row["candidates"] or ())
    return {
        "sample_id": row["sample_id"],
        "recipe": {"hash": row["recipe"], "name": config.get("name", "")},
        **{name: row[name] for name in _PAIR},
        "request": {
            "scope": row["scope"],
            "things": row["things"],
            "short": row["rewrite"],
            "answer": row["answer"],
            "notes": row["answer_notes"],
        },
        "candidates": [candidate | known for candidate, known in zip(row["candidates"] or (), evidence, strict=True)],
        "proposals": row["proposals"] or [],
        "scores": {name: row[name] for name in SCORES},
        "human_iou": row["human_iou"],
        "rules": [vars(rule) for rule in rules(row, thresholds)] if row["outcome"] == "label" else [],
        "outcome": row["outcome"],
        "status": row["status"],
        "stage": row["stage"],
        "reason": row["reason"],
        "meaning": REASONS.get(row["reason"], ""),
        "detail": row["detail"],
        "experts": row["experts"] or [],
        "gate": WRITTEN if gate is None else gate.hash,
        "calibration": config.get("calibration", "") if gate is None or gate.quality == "written" else gate.hash,
        "reviews": _facts(catalog, "reviews", "reviewed_at", keys),
        "decisions": _facts(catalog, "decisions", "decided_at", keys),
        "weights": _facts(catalog, "weights", "discriminator", keys),
    }


def rules(scores: Mapping[str, Any], gate: Mapping[str, Any]) -> list[Rule]:
    """What a gate's thresholds ask of a label's scores, in the order in which it asks."""
    accept, reject = gate.get("accept"), gate.get("reject")
    least = {"understood": gate.get("min_understood"), "agreement": gate.get("min_agreement")}
    least["consistency"] = gate.get("min_consistency")
    found = []
    if accept is not None and reject is not None:
        asks = f"rejected below {reject:g}, review below {accept:g}"
        found.append(_rule(scores, "quality", asks, accept, None))
    low, high = gate.get("min_area_ratio"), gate.get("max_area_ratio")
    if low is not None and high is not None and scores.get("status") not in ("no_target", "whole_image"):
        found.append(_rule(scores, "area_ratio", f"rejected outside {low:g} to {high:g}", low, high))
    found += [_rule(scores, name, f"review below {bound:g}", bound, None) for name, bound in least.items() if bound]
    return found


def _accept(gate: Gate, row: Row) -> Row:
    """What the gate asks of the quality where that differs by source, kind or answer; None accepts nothing."""
    if not gate.by:
        return {}
    whole = "whole image" if row["scope"] == "whole image" else "mask"
    value = row[gate.by] if gate.by != "answer" else "absent" if row["area"] == 0 else whole
    return {"accept": gate.accepts.get(value)}


def _rule(scores: Mapping[str, Any], name: str, asks: str, low: float, high: float | None) -> Rule:
    value = scores.get(name)
    holds = None if value is None else value >= low and (high is None or value <= high)
    return Rule(name, value, asks, holds)


def _find(catalog: Catalog, sample: str, recipe: str) -> Row:
    query = """
        FROM outcomes WHERE (starts_with(sample_id, $sample) OR image_uri = $sample) AND starts_with(recipe, $recipe)
        ORDER BY part, position
    """
    rows = catalog.sql(query, sample=sample, recipe=recipe).to_pylist() if sample else []
    if not rows:
        raise ConfigError(
            f"no pair's id begins with {sample!r}, and none is of an image of that path; find ids with: "
            'ivm sql --data DIR "select sample_id, instruction, image_uri from outcomes"'
        )
    if len({row["sample_id"] for row in rows}) > 1:
        listed = "\n".join(f"  {row['sample_id']}  {row['image_uri']}  {row['instruction']}" for row in rows[:_LISTED])
        more = f"\n  and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
        raise ConfigError(f"{sample!r} may be each of these pairs; give more of the id:\n{listed}{more}")
    if len(recipes := sorted({row["recipe"] for row in rows})) > 1:
        raise ConfigError(f"this pair was labeled by several recipes; choose one with --recipe: {', '.join(recipes)}")
    found: Row = rows[0]
    return found


def _config(catalog: Catalog, recipe: str) -> Row:
    rows = catalog.sql("SELECT config FROM recipes WHERE recipe = $recipe", recipe=recipe).to_pylist()
    config: Row = json.loads(rows[0]["config"]) if rows else {}
    return config


def _facts(catalog: Catalog, view: str, order: str, keys: Mapping[str, str]) -> list[Row]:
    """What was said of a pair later, oldest first; of a mask only whether there is one."""
    shown = "* EXCLUDE (recipe, sample_id) REPLACE (mask IS NOT NULL AS mask)"
    columns = shown if view == "reviews" else "* EXCLUDE (recipe, sample_id)"
    query = f"SELECT {columns} FROM {view} WHERE recipe = $recipe AND sample_id = $sample ORDER BY {order}"
    rows: list[Row] = catalog.sql(query, **keys).to_pylist()
    return rows
