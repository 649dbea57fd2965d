"""A training whose rows, and what the frozen encoders see of them, are all in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ivm_model.data.dataset import TrainingRow, TrainingRows, hold_back, load_rows
from ivm_model.data.features import Features, encode_rows
from ivm_model.discriminator.stage_one import DiscriminatorScores
from ivm_model.engine.optimization import Progress
from ivm_model.engine.processes import Stop
from ivm_model.train.co_teaching import ask_generators
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.loop import Training
from ivm_model.train.model_card import TrainReport
from ivm_model.train.signals import weigh
from ivm_model.train.train_config import TrainConfig
from ivm_model.weighting.weightings import NEEDS_GENERATORS
from storage.records import Weight
from storage.shards import write_weights

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_in_memory(config: TrainConfig, accelerator: Accelerator, progress: Progress, stop: Stop) -> TrainReport:
    """As `trainer.train_dwsl`."""
    rows, validation = load_rows(config.data, config.rows), tuple[TrainingRow, ...]()
    if config.run.evaluate_every:
        rows, validation = hold_back(rows, config.run.validation_share)
    training = Training(config, rows, validation, accelerator=accelerator, stop=stop, progress=progress)
    with training.phase("encode"):
        features = encode_rows(training.model, rows.train, training.progress, training.cache("whole"))
    trainer = training.generator(features)
    fresh = trainer.snapshot()
    taken = training.warm_up(trainer, len(rows.train))
    opinions = training.judge(trainer, rows.train, lambda: features) if config.needs_discriminator else None
    weight_N = weigh(config.weighting, rows, opinions, _heard(training, trainer, features, fresh))
    training.learn(trainer, weight_N, taken)
    if opinions:
        append_weights(config.data, rows, opinions)
    return training.finish(weight_N[len(rows.human) :], opinions, rows.machine)


def append_weights(data: Path, rows: TrainingRows, opinions: DiscriminatorScores) -> None:
    """Append D of every machine row as a Weight shard."""
    machine = opinions.views.where("machine")
    weights = [
        Weight(row.sample_id, row.recipe, opinions.name, float(opinions.d_M[i]), int(opinions.fold_M[i]))
        for row, i in zip(rows.machine, machine, strict=True)
    ]
    write_weights(data, opinions.name, "all", weights)


def _heard(
    training: Training, trainer: GeneratorTrainer, features: Features, fresh: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """What generators say of the labels, where the weighting asks them, or what they had said."""
    config, journal = training.config, training.journal
    if config.weighting not in NEEDS_GENERATORS:
        return {}
    if journal.opinions is None:
        ask = (config.weighting, trainer, features, fresh, config.generator.warmup_steps)
        with training.phase("measure"):
            found = ask_generators(*ask, seed=config.seed, progress=training.progress)
        training.keep(trainer, found)
    return journal.opinions or {}
