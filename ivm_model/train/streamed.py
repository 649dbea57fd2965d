"""A training whose rows stay in the shards, but for those that stage I learns from and those that validate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ivm_model.data.dataset import TrainingRow
from ivm_model.data.features import encode_rows
from ivm_model.data.row_reader import RowReader
from ivm_model.data.sample import hold_back, stage_one_rows
from ivm_model.data.shard_index import ShardIndex, index_shards
from ivm_model.data.stream import Stream
from ivm_model.discriminator.scoring import Scorer
from ivm_model.discriminator.stage_one import DiscriminatorScores
from ivm_model.engine.optimization import Progress
from ivm_model.engine.processes import Stop
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.loop import Training
from ivm_model.train.model_card import TrainReport
from ivm_model.train.signals import weigh_index
from ivm_model.train.train_config import TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_streamed(config: TrainConfig, accelerator: Accelerator, progress: Progress, stop: Stop) -> TrainReport:
    """As `trainer.train_dwsl`."""
    index, validation = _read(config)
    training = Training(config, index, validation, accelerator=accelerator, stop=stop, progress=progress)
    feed = Stream(training.model, index, config.stream, config.seed, training.cache("shrunk"))
    trainer = training.generator(feed)
    taken = training.warm_up(trainer, len(index))
    found = _judge(training, trainer, feed) if config.needs_discriminator else _Judgement()
    weight_K = weigh_index(config.weighting, index, found.d_N, config.discriminator.loss)
    training.learn(trainer, weight_K, taken)
    skipped = feed.skipped.keys() | found.problems.keys()
    return training.finish(weight_K[index.machine], found.opinions, found.judged, len(skipped))


@dataclass(frozen=True)
class _Judgement:
    """What stage I found.

    Attributes:
        judged: the machine rows that the opinions are of.
        d_N: D of all machine rows.
        problems: sample id -> why the row could not be used.
    """

    opinions: DiscriminatorScores | None = None
    judged: tuple[TrainingRow, ...] = ()
    d_N: np.ndarray | None = None
    problems: Mapping[str, str] = field(default_factory=dict)


def _read(config: TrainConfig) -> tuple[ShardIndex, tuple[TrainingRow, ...]]:
    """The index of the training rows, and the rows that validate."""
    index = index_shards(config.data, config.rows)
    if not config.run.evaluate_every:
        return index, ()
    left, held_V = hold_back(index, config.run.validation_share, config.stream.validation)
    rows, _ = RowReader(index, config.stream.buffer).rows(held_V, decode=True)
    return left, tuple(replace(row, truth=row.mask) for row in rows)


def _judge(training: Training, trainer: GeneratorTrainer, feed: Stream) -> _Judgement:
    """Stage I on a bounded choice of rows, then D of every machine row, or what was found before a kill."""
    config, journal = training.config, training.journal
    reader = RowReader(feed.index, config.stream.buffer)
    rows, problems = stage_one_rows(reader, config.stream.human, config.stream.machine)
    opinions = training.judge(
        trainer,
        rows.train,
        lambda: encode_rows(training.model, rows.train, training.progress, feed.cache, shrunk=True),
    )
    packed = journal.opinions or {}
    if "d_N" not in packed:
        scorer = Scorer(
            training.model,
            reader,
            opinions,
            config.discriminator,
            learned=rows.train,
            data=config.data,
            cache=feed.cache,
        )
        with training.phase("score"):
            d_N = scorer.run(training.accelerator, training.progress)
        training.keep(trainer, packed | {"d_N": d_N})
        problems |= scorer.problems
    d_N = (journal.opinions or {})["d_N"].numpy()
    return _Judgement(opinions, rows.machine, d_N, problems)
