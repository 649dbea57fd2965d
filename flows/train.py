"""The `train` flow: labeled shards become a checkpoint with its scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import NonNegativeInt

from flows.artifacts import StageBoard
from flows.assets import report_checkpoint
from flows.choices import BaseModels, Weighting
from flows.limits import gpu, slots
from flows.logs import log_to_runs
from flows.runtime import retried
from flows.train_artifacts import show_training
from flows.trainings import LabelState, remember, settings
from ivm_data.outputs import check
from ivm_data.recipes.training_recipes import train_config
from ivm_model.train.model_card import TrainReport
from storage.display import one_line
from storage.outputs import CHECKPOINTS

if TYPE_CHECKING:
    from ivm_model.train.train_config import TrainConfig


def _run_name() -> str:
    given = flow_run.parameters
    return one_line(f"{given['weighting']} on {Path(given['data']).name}, seed {given['seed']}")


@retried("{config.out.name}")
def train_checkpoint(config: TrainConfig) -> TrainReport:
    """Stage I, stage II, evaluation: they share the model in memory, and only the checkpoint outlives the task."""
    import torch

    from ivm_model.train.trainer import train_dwsl

    with slots([gpu()] if torch.cuda.is_available() else []):
        return train_dwsl(config, StageBoard("train-progress", get_run_logger()).show)


@flow(name="train", flow_run_name=_run_name)
def train(
    data: Path,
    out: Path | None = None,
    *,
    recipe: str = "",
    models: BaseModels = "embedded",
    weighting: Weighting = "clip_sigmoid",
    seed: NonNegativeInt = 0,
    overrides: dict[str, Any] | None = None,
) -> str:
    """Train the masking model from human and machine labels by DWSL, and score it on held-out truth.

    Args:
        data: Folder of a labeled data set.
        out: Directory of the checkpoint, new or that of an earlier one; by default in the data set's folder.
        recipe: Hash of the recipe whose labels train; may be left out where the data set holds only one.
        models: Whose base models train: embedded, or the paper's or today's; `overrides` may say where they lie.
        weighting: How much a machine label counts.
        seed: Of weights, order and wrong masks.
        overrides: Fields of the training to replace, by dotted name, for example {"generator.steps": 1200}.

    Returns:
        The directory of the checkpoint.
    """
    log_to_runs()
    kind = "" if models == "embedded" else f"{models}-"
    out = out or data / CHECKPOINTS / f"{kind}{weighting}-{seed}"
    check("train", out, data)
    changes = {"rows.recipe": recipe, "weighting": weighting, "seed": seed, **(overrides or {})}
    report = train_checkpoint(train_config(data, out, changes, models))
    labels = LabelState.of(data, recipe, report.snapshot)
    remember(data, labels, settings(weighting, seed, overrides, models), report.checkpoint)
    show_training(report)
    report_checkpoint(report, data, labels.recipe)
    get_run_logger().info("checkpoint in %s", one_line(report.checkpoint))
    return report.checkpoint
