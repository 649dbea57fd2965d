"""The `train-when-ready` flow: starts one training when enough new labels were accepted, however often it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import NonNegativeInt

from flows.choices import BaseModels, Weighting
from flows.runtime import start_once
from flows.trainings import LabelState, accepted_at_last_training, is_trained, settings, training_key
from storage.display import one_line

TRAINING = "train/train-dwsl"
ENDED_BADLY = {StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


def _run_name() -> str:
    return f"is {one_line(Path(flow_run.parameters['data']).name)} ready?"


@flow(name="train-when-ready", flow_run_name=_run_name)
def train_when_ready(
    data: Path,
    *,
    recipe: str = "",
    at_least: NonNegativeInt = 500,
    models: BaseModels = "embedded",
    weighting: Weighting = "clip_sigmoid",
    seed: NonNegativeInt = 0,
    overrides: dict[str, Any] | None = None,
) -> State[Any]:
    """Start a training if enough labels were accepted since the last one. The same labels never train twice.

    Args:
        data: Folder of a labeled data set.
        recipe: Hash of the recipe whose labels train; may be left out where the data set holds only one.
        at_least: Newly accepted labels that are worth a training.
        models: Whose base models train: embedded, or the paper's or today's; `overrides` may say where they lie.
        weighting: How much a machine label counts.
        seed: Of weights, order and wrong masks.
        overrides: Fields of the training to replace, by dotted name, for example {"generator.steps": 1200}.

    Returns:
        Completed in every case; the decision is the name and the message of the state.
    """
    if not data.is_dir():
        return Completed(name="NothingLabeled", message=one_line(f"no data set at '{data}' yet"))
    labels, how = LabelState.of(data, recipe), settings(weighting, seed, overrides, models)
    new, key = labels.accepted - accepted_at_last_training(data, labels.recipe), training_key(labels, how)
    if is_trained(data, key):
        return Completed(name="AlreadyTrained", message=f"these labels of {labels.recipe} were trained on already")
    if new < max(at_least, 1):
        return Completed(name="TooFewLabels", message=f"not enough new labels: {new} of {max(at_least, 1)}")
    parameters = {"data": str(data), "recipe": labels.recipe, **how}
    run = start_once(TRAINING, parameters, f"{data.resolve()} {key}")
    if run.state_type in ENDED_BADLY:
        retry = f"training '{run.name}' of these labels is {run.state_name}; prefect flow-run retry {run.id}"
        return Completed(name="NeedsRetry", message=retry)
    return Completed(name="Started", message=f"{new} new labels: training '{run.name}', {run.id}")
