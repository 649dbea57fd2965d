"""What a labeling run shows: its recipe as a diagram, quality as tables, a few labels as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from flows.artifacts import as_cells
from ivm_data.engine.labeling_run import LabelingRun
from ivm_data.engine.part_outcomes import PartSummary
from ivm_data.recipes.labeling_recipes import Recipe
from storage.catalog import Catalog
from storage.display import markdown, one_line
from storage.parts.layout import light_path
from storage.records import Status

QUALITY_QUERIES = ("summary", "acceptance_by_source", "acceptance_by_kind", "reasons", "slowest_parts")
"""Named queries whose answers a labeling run shows at its end; `ivm query` gives the same ones."""

NAMED = 10
"""Rejected samples of a part that are named in the log; `ivm query rejections` names all."""


def rejected_samples(run: LabelingRun, part: PartSummary) -> list[str]:
    """A line for each of the first inputs of a part that ended without a label, and one that counts the rest."""
    count = sum(part.statuses.values()) - sum(part.statuses[status] for status in Status)
    if not count:
        return []
    try:
        rows = pq.read_table(
            light_path(run.data, run.recipe_hash, part.part),
            columns=["sample_id", "image_uri", "stage", "reason", "detail"],
            filters=pc.field("outcome") == "rejection",
        ).to_pylist()
    except FileNotFoundError:  # A compaction has joined it with others by now.
        rows = []
    lines = [
        one_line(f"{row['sample_id']} '{row['image_uri']}': {row['reason']} at {row['stage']}, {row['detail']}")
        for row in rows[:NAMED]
    ]
    unnamed = count - len(lines)
    return lines + ([f"{part.part}: {unnamed} more; ivm query --data {run.data} rejections"] if unnamed else [])


def show_recipe(recipe: Recipe, recipe_hash: str) -> None:
    """The recipe's stages and experts as a diagram."""
    create_markdown_artifact(
        f"# Recipe {recipe.name}, `{recipe_hash}`\n\n```mermaid\n{mermaid(recipe)}\n```\n",
        key="label-recipe",
        description=f"stages and experts of recipe {recipe_hash}",
    )


def show_quality(catalog: Catalog, data: Path, recipe_hash: str) -> dict[str, list[dict[str, Any]]]:
    """One table for each of `QUALITY_QUERIES`, over all labels of the recipe; gives their rows by name."""
    answers = {name: catalog.query(name, recipe=recipe_hash).to_pylist() for name in QUALITY_QUERIES}
    for name, rows in answers.items():
        create_table_artifact(
            as_cells(rows),
            key=f"label-{name.replace('_', '-')}",
            description=markdown(f"ivm query --data {data} {name}"),
        )
    return answers


def show_contact_sheet(catalog: Catalog, recipe_hash: str) -> None:
    """Input, heatmap and masked image of a few labels of every status; nothing where there is no label."""
    from ivm_data.report.contact_sheet import contact_sheet

    what = "input | heatmap | kept pixels, for labels of every status"
    _show_picture(contact_sheet(catalog, recipe_hash), "label-contact-sheet", what)


def show_strips(catalog: Catalog, recipe_hash: str) -> None:
    """Some episodes as strips in time; nothing where no label is of an episode."""
    from ivm_data.report.strips import strips

    what = "kept pixels of some episodes in time; key frames have a blue border"
    _show_picture(strips(catalog, recipe_hash), "label-strips", what)


def _show_picture(image_HWC: np.ndarray | None, key: str, description: str) -> None:
    """An image artifact; nothing where there is no picture."""
    from ivm_data.report.gallery import data_uri

    if image_HWC is not None:
        create_image_artifact(data_uri(image_HWC), key=key, description=description)


def mermaid(recipe: Recipe) -> str:
    """A flow chart of the stages, each with the experts that it asks."""
    asks = {
        "rewrite": recipe.rewriter.expert,
        "ground": " + ".join(spec.expert for spec in recipe.grounders),
        "resolve": recipe.verifier.expert,
        "segment": " + ".join([recipe.segmenter.expert, *(spec.expert for spec in recipe.proposers)]),
        "fuse": f"consensus of {1 + len(recipe.proposers)}",
        "verify": recipe.verifier.expert,
        "gate": recipe.calibration or "not calibrated",
    }
    boxes = [f'    {stage}["{stage}<br/>{_in_mermaid(expert)}"]' for stage, expert in asks.items()]
    ends = [f"    gate --> {end}" for end in ("accepted", "review", "rejected", "no_target", "whole_image")]
    return "\n".join(["flowchart LR", *boxes, "    manifest --> " + " --> ".join(asks), *ends])


def _in_mermaid(text: str) -> str:
    """Text inside the quotes of a box: signs that Mermaid, HTML or Markdown read are its entity codes."""
    return re.sub(r'["<>&#`;]', lambda sign: f"#{ord(sign[0])};", one_line(text))
