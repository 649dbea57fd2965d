"""What every training does, wherever its rows are kept: two phases with states between them, a report, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ivm_model.data.dataset import TrainingRow, TrainingRows, truth_iou
from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.features import Features, Feed
from ivm_model.data.shard_index import ShardIndex
from ivm_model.discriminator.audit import audit, reliability_bins
from ivm_model.discriminator.stage_one import (
    DiscriminatorScores,
    pack_opinions,
    prepare_views,
    restore_opinions,
    run_stage_one,
)
from ivm_model.engine.ema import fill
from ivm_model.engine.frozen_sharding import split_frozen
from ivm_model.engine.optimization import Progress, silent
from ivm_model.engine.processes import Stop
from ivm_model.metrics.evaluation import evaluate, evaluate_labels
from ivm_model.model.checkpoint import save_checkpoint
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.callbacks import Journal
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.model_card import TrainReport, model_card
from ivm_model.train.train_config import TrainConfig
from storage.snapshots import current

if TYPE_CHECKING:
    from accelerate import Accelerator


class Training:
    """One training of a masking model on given rows.

    Args:
        config: with the snapshot that the rows are of.
        validation: rows whose scores choose the model that is kept.
        accelerator: the processes that train together.
    """

    def __init__(
        self,
        config: TrainConfig,
        rows: TrainingRows | ShardIndex,
        validation: Sequence[TrainingRow],
        *,
        accelerator: Accelerator,
        stop: Stop,
        progress: Progress = silent,
    ) -> None:
        self.config, self.rows, self.stop = config, rows, stop
        self.seconds: dict[str, float] = {}
        self.accelerator = accelerator
        self.progress = progress if self.accelerator.is_main_process else silent
        self.snapshot = config.rows.snapshot or current(config.data).name
        torch.manual_seed(config.seed)
        self.model = MaskingModel(config.model)
        if config.run.shard:
            split_frozen(self.model, self.accelerator)
        self.model.to(self.accelerator.device).eval()
        if config.run.gradient_checkpointing:
            self.model.lmm.model.activation_checkpointing_enable()
        self.journal = Journal(
            config.out,
            self._identity(),
            config.run,
            self.accelerator,
            stop=stop,
            snapshot=config.rows.snapshot,
            validation=validation,
        )

    def cache(self, pixels: str) -> EmbeddingCache | None:
        """Where SAM's embeddings of images that are decoded in this way are kept."""
        return EmbeddingCache(Path(self.config.embeddings), self.model, pixels) if self.config.embeddings else None

    def generator(self, feed: Feed) -> GeneratorTrainer:
        """A fresh generator that learns from the feed."""
        return GeneratorTrainer(self.model, feed, self.config.generator, self.config.seed, self.accelerator)

    def warm_up(self, trainer: GeneratorTrainer, count: int) -> int:
        """Learn for a while with uniform weights, or go back to where a killed training was.

        Args:
            count: of the trainer's rows.

        Returns:
            The steps of stage II that were taken before.
        """
        phase, taken = self.journal.resume(trainer)
        if phase != "warm-up":
            return taken
        if steps := self.config.warmup_steps:
            self._train(trainer, phase, np.ones(count, np.float32), steps, taken)
        return 0

    def learn(self, trainer: GeneratorTrainer, weight_N: np.ndarray, taken: int) -> None:
        """Stage II; the best model on the validation rows, else the averaged one, takes the last one's place."""
        self._train(trainer, "stage II", weight_N, self.config.generator.steps - self.config.warmup_steps, taken)
        best = self.journal.best
        if best:
            fill(self.model.trained_parameters(), best["weights"])
        elif trainer.ema:
            fill(self.model.trained_parameters(), trainer.ema.averages)

    def judge(
        self, trainer: GeneratorTrainer, rows: tuple[TrainingRow, ...], encode: Callable[[], Features]
    ) -> DiscriminatorScores:
        """Stage I, or what it had found before the training was killed.

        Args:
            rows: what it learns from.
            encode: gives their features, if they are needed.
        """
        config, seed = self.config.discriminator, self.config.seed
        if self.journal.opinions is None:
            with self.phase("stage I"):
                features = encode()
                views = prepare_views(self.model, features, config, seed=seed, progress=self.progress)
                found = run_stage_one(self.model, features, views, config, seed=seed, progress=self.progress)
            self.keep(trainer, pack_opinions(found))
        return restore_opinions(self.journal.opinions or {}, rows, config, seed=seed)

    def keep(self, trainer: GeneratorTrainer, found: dict[str, Any]) -> None:
        """Write a state with what judges found between the phases: on a GPU no two processes find quite the same."""
        from accelerate.utils import broadcast_object_list

        self.journal.opinions = broadcast_object_list([found])[0]
        self.journal.save(trainer, "stage II", 0, trainer.rng.bit_generator.state)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the wall-clock time."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    def finish(
        self,
        machine_weight_N: np.ndarray,
        opinions: DiscriminatorScores | None,
        judged: Sequence[TrainingRow],
        skipped: int = 0,
    ) -> TrainReport:
        """Score the model on the test rows and write the checkpoint.

        Args:
            judged: the machine rows that the opinions are of.
        """
        config, rows, best = self.config, self.rows, self.journal.best
        with self.phase("evaluate"):
            scores = evaluate(self.model.heatmaps, rows.test) if rows.test else None
            label_scores = evaluate_labels(rows.test) if rows.test else None
        report = TrainReport(
            checkpoint=str(config.out),
            weighting=config.weighting,
            seed=config.seed,
            data_hash=rows.content_hash,
            base_models=self.model.base_models,
            rows={"human": len(rows.human), "machine": len(rows.machine), "test": len(rows.test)},
            parameters=self.model.parameter_report(),
            seconds=self.seconds,
            loss=tuple(self.journal.losses),
            mean_weight=float(machine_weight_N.mean()) if len(machine_weight_N) else 0.0,
            snapshot=self.snapshot,
            skipped=skipped,
            validation=best and {"giou": best["giou"], "step": best["step"]},
            discriminator="" if opinions is None else opinions.name,
            audit=None if opinions is None else audit(opinions, truth_iou(judged)),
            reliability=() if opinions is None else reliability_bins(opinions),
            scores=scores,
            label_scores=label_scores,
        )
        self.journal.close()
        if self.accelerator.is_main_process:
            state = None if opinions is None else opinions.state
            save_checkpoint(config.out, self.model, report.facts(), model_card(report), state)
        self.accelerator.wait_for_everyone()
        return report

    def _train(self, trainer: GeneratorTrainer, phase: str, weight_N: np.ndarray, steps: int, taken: int) -> None:
        after_step = self.journal.watch(trainer, phase)
        with self.phase(phase), self.stop.after_a_step():
            trainer.run(weight_N, steps, self.progress, taken=taken, after_step=after_step)

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a saved state to be gone on from."""
        config = asdict(self.config)
        for name in ("data", "out", "run", "embeddings"):
            del config[name]
        del config["stream"]["workers"]
        learning = {"precision": self.config.run.precision, "evaluate_every": self.config.run.evaluate_every}
        return {"config": config, **learning, "data": self.rows.content_hash, "bases": self.model.base_models}
