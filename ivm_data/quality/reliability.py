"""How reliable each expert is on a recipe's labels, without any human mask: STAPLE over the measured votes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.quality.measures import measure
from ivm_data.quality.staple import Votes, staple
from storage.catalog import Catalog
from storage.common.sql_files import load
from storage.errors import ConfigError
from storage.parts.shards import write_reliability
from storage.records import Reliability


def estimate(data: Path) -> list[Reliability]:
    """Measure what is not measured yet, estimate every recipe's experts, and append the estimates.

    Raises:
        ConfigError: no label has two proposals.
    """
    measure(data)
    found: list[Reliability] = []
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    with Catalog(data) as catalog:
        recipes = catalog.sql("SELECT DISTINCT recipe FROM labels ORDER BY recipe")["recipe"].to_pylist()
        for recipe in recipes:
            if rows := catalog.sql(load("ivm_data.quality", "sql")["votes"], recipe=recipe).to_pylist():
                found += _of_recipe(recipe, rows, at)
    if not found:
        raise ConfigError(f"no label in '{data}' has two proposals; STAPLE compares experts, so it needs at least two")
    for recipe in {one.recipe for one in found}:
        write_reliability(data, recipe, at.replace(":", "-"), [one for one in found if one.recipe == recipe])
    return found


def _of_recipe(recipe: str, rows: Sequence[dict[str, Any]], at: str) -> list[Reliability]:
    experts = sorted({name for row in rows for name in row["experts"]})
    end = staple(_votes(rows, experts))
    labels = {name: sum(name in row["experts"] for row in rows) for name in experts}
    return [
        Reliability(recipe, name, float(sensitivity), float(specificity), labels[name], at)
        for name, sensitivity, specificity in zip(experts, end.sensitivity_E, end.specificity_E, strict=True)
    ]


def _votes(rows: Sequence[dict[str, Any]], experts: Sequence[str]) -> Votes:
    """The prior of a label is the share of marks among all its votes, as the paper's section II-D has it."""
    column = {name: index for index, name in enumerate(experts)}
    votes, pixels, priors = [], [], []
    for row in rows:
        given = [column[name] for name in row["experts"]]
        marks = sum(vote["pixels"] * vote["experts"].bit_count() for vote in row["votes"])
        prior = marks / (len(given) * sum(vote["pixels"] for vote in row["votes"]))
        for vote in row["votes"]:
            line = np.full(len(experts), np.nan)
            line[given] = [vote["experts"] >> index & 1 for index in range(len(given))]
            votes.append(line)
            pixels.append(vote["pixels"])
            priors.append(min(max(prior, 1e-6), 1 - 1e-6))
    return Votes(np.array(votes), np.array(pixels, float), np.array(priors))
