"""The `label-and-train` flow: from a manifest to a checkpoint in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from pydantic import PositiveInt

from flows.choices import BaseModels, RecipeName, Weighting
from flows.label import label
from flows.train import train
from ivm_data.sources.manifest_parts import dataset_name


def _run_name() -> str:
    given = flow_run.parameters
    return f"{dataset_name(Path(given['manifest']))} by {given['recipe']}, then {given['weighting']}"


@flow(name="label-and-train", flow_run_name=_run_name)
def label_and_train(
    manifest: Path,
    data: Path,
    *,
    recipe: RecipeName = "demo",
    recipe_overrides: dict[str, Any] | None = None,
    part_size: PositiveInt = 64,
    models: BaseModels = "embedded",
    weighting: Weighting = "clip_sigmoid",
    train_overrides: dict[str, Any] | None = None,
) -> str:
    """Label a manifest, then train on what is in the data set's folder.

    Args:
        manifest: JSONL or CSV file with `image` and `instruction`; image paths are relative to its folder.
        data: Folder of the data set; it is made where it is missing.
        recipe: Which experts and thresholds.
        recipe_overrides: Fields of the recipe to replace, by dotted name.
        part_size: Pairs in a part, the unit of retry and commit.
        models: Whose base models train: embedded, or the paper's or today's, whose folders `train_overrides` may name.
        weighting: How much a machine label counts.
        train_overrides: Fields of the training to replace, by dotted name.

    Returns:
        The directory of the checkpoint.
    """
    label(manifest, data, recipe=recipe, overrides=recipe_overrides, part_size=part_size)
    return train(data, models=models, weighting=weighting, overrides=train_overrides)
