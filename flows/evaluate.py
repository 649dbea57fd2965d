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
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex, index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.metrics.evaluation import Evaluation, evaluate_against_labels, evaluate_labels
from storage.display import markdown, one_line
from storage.errors import ConfigError, ShardError

BUFFER = 16
"""Row groups that are kept in memory."""


def _run_name() -> str:
    given = flow_run.parameters
    who = Path(given["checkpoint"]).name if given.get("checkpoint") else "labels"
    return one_line(f"{who} on {Path(given['data']).name}")


@retried("{checkpoint.name}")
def score_checkpoint(checkpoint: Path, test: TrainingIndex) -> tuple[Evaluation, Evaluation]:
    """Load a checkpoint and let it mask every row; its scores, and those of the engine's labels on the same rows."""
    import torch

    from ivm_model.predictor import Predictor

    with slots([gpu()] if torch.cuda.is_available() else []):
        predict = Predictor.from_pretrained(checkpoint).heatmaps
        scores, labels = evaluate_against_labels(predict, RowReader(test, BUFFER).stream({}))
    if scores is None or labels is None:
        raise ShardError("no row with held-out truth can be read; label their parts again")
    return scores, labels


@flow(name="evaluate", flow_run_name=_run_name)
def evaluate_data(
    data: Path,
    checkpoint: Path | None = None,
    *,
    recipe: str = "",
    test_share: Annotated[float, Field(ge=0, lt=1)] = RowsConfig.test_share,
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
    rows = RowsConfig(recipe, test_sources=tuple(test_sources or ()), test_share=test_share)
    test = index_rows(data, rows).of("test")
    if not len(test):
        raise ConfigError(f"'{data}' has no row with held-out truth in a test share of {test_share}; raise it")
    if checkpoint:
        scores, labels = score_checkpoint(checkpoint, test)
    else:
        scores = labels = evaluate_labels(RowReader(test, BUFFER).stream({}))
    create_table_artifact(
        as_cells(score_rows(scores, labels)),
        key="evaluate-scores",
        description=markdown(
            f"{checkpoint or 'the labels'} on {scores.overall.count} rows of {data} with held-out truth"
        ),
    )
    return scores.overall.giou
