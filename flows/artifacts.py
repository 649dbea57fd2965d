"""What an operator sees of a run: progress, tables, pictures and the recipe, as Prefect artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows import contact_sheet
from ivm_data.recipes import Recipe
from storage.catalog import Catalog

QUALITY_QUERIES = ("summary", "acceptance_by_source", "acceptance_by_kind", "reasons", "slowest_parts")
"""Named queries whose answers a labeling run shows at its end; `ivm query` gives the same ones."""


class ProgressBoard:
    """One progress artifact that lives as long as the run."""

    def __init__(self, key: str, counts: Mapping[str, str]) -> None:
        self._id = create_progress_artifact(0.0, key=key, description=as_markdown(counts))

    def show(self, percent: float, counts: Mapping[str, str]) -> None:
        """Bring the artifact up to date."""
        update_progress_artifact(self._id, percent, description=as_markdown(counts))


def show_recipe(recipe: Recipe, recipe_hash: str) -> None:
    """The recipe's stages and experts as a diagram."""
    create_markdown_artifact(
        f"# Recipe {recipe.name}, `{recipe_hash}`\n\n```mermaid\n{mermaid(recipe)}\n```\n",
        key="label-recipe",
        description=f"stages and experts of recipe {recipe_hash}",
    )


def show_quality(data: Path, recipe_hash: str) -> None:
    """One table for each of `QUALITY_QUERIES`, over all labels of the recipe."""
    with Catalog(data) as catalog:
        for name in QUALITY_QUERIES:
            create_table_artifact(
                rows(catalog.query(name, recipe=recipe_hash)),
                key=f"label-{name.replace('_', '-')}",
                description=f"ivm query --data {data} {name}",
            )


def show_contact_sheet(data: Path, recipe_hash: str) -> None:
    """Input, heatmap and masked image of a few labels of every status; nothing where there is no label."""
    if labels := contact_sheet.choose(data, recipe_hash):
        create_image_artifact(
            contact_sheet.data_uri(contact_sheet.draw(labels)),
            key="label-contact-sheet",
            description="input | heatmap | masked, for labels of every status",
        )


def mermaid(recipe: Recipe) -> str:
    """A flow chart of the stages, each with the expert that it asks."""
    asks = {
        "rewrite": recipe.rewriter.expert,
        "ground": recipe.grounder.expert,
        "resolve": recipe.verifier.expert,
        "segment": " + ".join([recipe.segmenter.expert, *(spec.expert for spec in recipe.proposers)]),
        "fuse": f"consensus of {1 + len(recipe.proposers)}",
        "verify": recipe.verifier.expert,
        "gate": recipe.calibration or "not calibrated",
    }
    boxes = [f'    {stage}["{stage}<br/><i>{expert}</i>"]' for stage, expert in asks.items()]
    ends = [f"    gate --> {end}" for end in ("accepted", "review", "rejected", "no_target")]
    return "\n".join(["flowchart LR", *boxes, "    manifest --> " + " --> ".join(asks), *ends])


def as_markdown(counts: Mapping[str, str]) -> str:
    """Names and values as a Markdown table of one row."""
    lines = [list(counts), ["---"] * len(counts), list(counts.values())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """A table's rows with JSON values only, numbers to four digits."""
    return [{name: _cell(value) for name, value in row.items()} for row in table.to_pylist()]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value if isinstance(value, (int, str, bool)) or value is None else str(value)
