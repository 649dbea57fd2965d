"""What a training run shows: its model card with the checkpoint's place, and its scores as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.artifacts import as_cells
from ivm_model.metrics.evaluation import Evaluation
from ivm_model.train.model_card import TrainReport, model_card
from storage.display import markdown


def show_training(report: TrainReport) -> None:
    """The model card and the scores."""
    create_markdown_artifact(
        f"{model_card(report)}\nCheckpoint: {markdown(report.checkpoint)}\n",
        key="train-model-card",
        description=markdown(f"model card of {report.checkpoint}"),
    )
    create_table_artifact(
        as_cells(score_rows(report.scores, report.label_scores)),
        key="train-scores",
        description="scores on held-out truth: of the model, and of the engine's own labels",
    )


def score_rows(ours: Evaluation | None, labels: Evaluation | None) -> list[dict[str, Any]]:
    """One row for all held-out samples and one for each kind of instruction; none where nothing was held out."""
    if ours is None or labels is None:
        return []
    pairs = {"all": (ours.overall, labels.overall)}
    pairs |= {kind: (scores, labels.by_kind[kind]) for kind, scores in ours.by_kind.items()}
    return [
        {"kind": kind, **asdict(scores), "labels_giou": label.giou, "labels_ciou": label.ciou}
        for kind, (scores, label) in pairs.items()
    ]
