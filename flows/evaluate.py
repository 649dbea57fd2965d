"""The `evaluate` flow: a checkpoint, and the labels it could learn from, against held-out truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from pydantic import Field

from flows.artifacts import as_cells
from flows.limits import gpu, slots
from flows.runtime import retried
from flows.train_artifacts import score_rows
from ivm_model.data.dataset import DataConfig, TrainingRow, load_rows
from ivm_model.metrics.evaluation import Evaluation, evaluate, evaluate_labels
from ivm_model.predictor import Predictor
from storage.display import markdown, one_line
from storage.errors import ConfigError


def _run_name() -> str:
    given = flow_run.parameters
    who = Path(given["checkpoint"]).name if given.get("checkpoint") else "labels"
    return one_line(f"{who} on {Path(given['data']).name}")


@retried("{checkpoint.name}")
def score_checkpoint(checkpoint: Path, rows: tuple[TrainingRow, ...]) -> Evaluation:
    """Load a checkpoint and let it mask every row."""
    import torch

    with slots([gpu()] if torch.cuda.is_available() else []):
        return evaluate(Predictor.from_pretrained(checkpoint).heatmaps, rows)


@flow(name="evaluate", flow_run_name=_run_name)
def evaluate_data(
    data: Path,
    checkpoint: Path | None = None,
    *,
    recipe: str = "",
    test_share: Annotated[float, Field(ge=0, lt=1)] = DataConfig.test_share,
    test_sources: list[str] | None = None,
) -> float:
    """Score a checkpoint and the engine's own labels on images with held-out masks, which trained nothing.

    Args:
        data: Folder of a labeled data set.
        checkpoint: Folder that a training wrote; without it only the labels are scored.
        recipe: Hash of the recipe whose labels are scored; may be left out where the data set holds only one.
        test_share: Share of the images with held-out masks that only score; as in the training.
        test_sources: Sources whose images only score; as in the training.

    Returns:
        gIoU of the checkpoint, or of the labels where there is none.

    Raises:
        ConfigError: the data set has no held-out truth to score on.
    """
    rows = load_rows(data, DataConfig(recipe, test_sources=tuple(test_sources or ()), test_share=test_share)).test
    if not rows:
        raise ConfigError(f"'{data}' has no row with held-out truth in a test share of {test_share}; raise it")
    labels = evaluate_labels(rows)
    scores = score_checkpoint(checkpoint, rows) if checkpoint else labels
    create_table_artifact(
        as_cells(score_rows(scores, labels)),
        key="evaluate-scores",
        description=markdown(f"{checkpoint or 'the labels'} on {len(rows)} rows of {data} with held-out truth"),
    )
    return scores.overall.giou
