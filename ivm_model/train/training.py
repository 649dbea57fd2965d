"""One training from start to end: two phases with states between them, a report, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.feed import Feed
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex, hold_back, index_of
from ivm_model.data.training_rows import TrainingRow, truth_iou
from ivm_model.discriminator.audit import audit, reliability_bins
from ivm_model.discriminator.scoring import Scorer
from ivm_model.discriminator.stage_one import (
    DiscriminatorScores,
    check_origins,
    pack_scores,
    prepare_views,
    restore_scores,
    run_stage_one,
    stage_one_rows,
)
from ivm_model.engine.ema import fill
from ivm_model.engine.frozen_sharding import split_frozen
from ivm_model.engine.optimization import Progress, silent
from ivm_model.engine.processes import Stop
from ivm_model.metrics.evaluation import Evaluation, evaluate_against_labels
from ivm_model.model.checkpoint import go_on_from, read_config, save_checkpoint
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.callbacks import Callbacks
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.generator_signals import ask_generators
from ivm_model.train.model_card import TrainReport, model_card
from ivm_model.train.signals import weigh
from ivm_model.train.train_config import TrainConfig
from ivm_model.weighting.weightings import NEEDS_GENERATORS
from storage.data_set import DataSet

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class StageOne:
    """What the discriminators found.

    Attributes:
        scores: of the views that they learned from.
        machine: the machine rows that they learned from.
        d_N: D of all machine rows, NaN where a row cannot be read.
    """

    scores: DiscriminatorScores
    machine: tuple[TrainingRow, ...]
    d_N: np.ndarray


class Training:
    """One training of a masking model.

    Args:
        config: with the snapshot that the rows are of.
        data: the opened data set, at that snapshot.
        accelerator: the processes that train together.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: DataSet,
        accelerator: Accelerator,
        *,
        stop: Stop,
        progress: Progress = silent,
    ) -> None:
        self.config, self.accelerator, self.stop = config, accelerator, stop
        self.progress = progress if accelerator.is_main_process else silent
        self.seconds: dict[str, float] = {}
        self.index = _index(data, config)
        self.rows = self.index.of("human", "machine")
        if config.needs_discriminator:
            check_origins(self.rows.split_K)
        self.snapshot = config.rows.snapshot or data.now().name
        torch.manual_seed(config.seed)
        self.model = self._model()
        self.start = f"{Path(config.start).name}@{read_config(Path(config.start))['weights']}" if config.start else ""
        self.callbacks = Callbacks(
            config.out,
            self._identity(),
            config.run,
            accelerator,
            stop=stop,
            snapshot=config.rows.snapshot,
            validation=self._rows_of("validation"),
        )

    def run(self) -> TrainReport:
        """Warm up with uniform weights, judge the machine labels, go on with the judged weights, score, write.

        A training that was killed goes on from its last state.
        """
        with self.phase("encode"):
            feed = self._feed()
        trainer = GeneratorTrainer(self.model, feed, self.config.generator, self.config.seed, self.accelerator)
        fresh = trainer.snapshot()
        taken = self._warm_up(trainer)
        found = self._judge(trainer, feed) if self.config.needs_discriminator else None
        generators = self._ask_generators(trainer, feed, fresh)
        d_N = found.d_N if found else None
        weight_K = weigh(self.config.weighting, self.rows, d_N, self.config.discriminator.loss, generators)
        self._learn(trainer, weight_K, taken)
        return self._finish(weight_K, found, feed)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the wall-clock time."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    def _model(self) -> MaskingModel:
        model, run = MaskingModel(self.config.model), self.config.run
        if self.config.start:
            go_on_from(Path(self.config.start), model)
        if run.shard:
            split_frozen(model, self.accelerator)
        model.to(self.accelerator.device).eval()
        model.sam_dtype = "bfloat16" if run.precision == "bf16" else "float32"
        if run.gradient_checkpointing:
            model.lmm.model.activation_checkpointing_enable()
        return model

    def _feed(self) -> Feed:
        folder = self.config.embeddings
        cache = EmbeddingCache(Path(folder), self.model) if folder else None
        return Feed(self.model, self.rows, self.config.feed, self.config.seed, cache=cache, progress=self.progress)

    def _rows_of(self, split: str) -> tuple[TrainingRow, ...]:
        """The few rows of a split that stay in memory."""
        index = self.index.where(self.index.split_K == split)
        return tuple(RowReader(index, self.config.feed.buffer).rows(range(len(index)), {}, decode=True))

    def _warm_up(self, trainer: GeneratorTrainer) -> int:
        """Learn for a while with uniform weights, or go back to where a killed training was.

        Returns:
            The steps of stage II that were taken before.
        """
        phase, taken = self.callbacks.resume(trainer)
        if phase != "warm-up":
            return taken
        if steps := self.config.warmup_steps:
            self._train(trainer, phase, np.ones(len(self.rows), np.float32), steps, taken)
        return 0

    def _judge(self, trainer: GeneratorTrainer, feed: Feed) -> StageOne:
        """Stage I on a bounded choice of rows, then D of every machine row, or what was found before a kill."""
        config, seed = self.config.discriminator, self.config.seed
        index_N, rows = stage_one_rows(feed, config)
        if not self.callbacks.found:
            with self.phase("stage I"):
                features = feed.features_of(index_N, rows, self.progress)
                views = prepare_views(self.model, rows, config, seed=seed, progress=self.progress)
                scores = run_stage_one(self.model, features, views, config, seed=seed, progress=self.progress)
            self._keep(trainer, pack_scores(scores))
        scores = restore_scores(self.callbacks.found, rows, config, seed=seed)
        if "d_N" not in self.callbacks.found:
            scorer = Scorer(self.model, feed, scores, config, learned=rows, data=self.config.data)
            with self.phase("score"):
                d_N = scorer.run(self.accelerator, self.progress)
            self._keep(trainer, self.callbacks.found | {"d_N": d_N})
        machine = tuple(row for row in rows if row.origin == "machine")
        return StageOne(scores, machine, self.callbacks.found["d_N"].numpy())

    def _ask_generators(
        self, trainer: GeneratorTrainer, feed: Feed, fresh: dict[str, Any]
    ) -> Mapping[str, torch.Tensor]:
        """What generators say of the machine labels, where the weighting asks them, or what they said before a kill."""
        if self.config.weighting not in NEEDS_GENERATORS:
            return {}
        if not self.callbacks.found:
            ask = (self.config.weighting, trainer, feed, fresh, self.config.generator.warmup_steps)
            with self.phase("measure"):
                found = ask_generators(*ask, seed=self.config.seed, progress=self.progress)
            self._keep(trainer, found)
        return self.callbacks.found

    def _keep(self, trainer: GeneratorTrainer, found: dict[str, Any]) -> None:
        """Write a state with what was found between the phases: on a GPU no two processes find quite the same."""
        from accelerate.utils import broadcast_object_list

        self.callbacks.found = broadcast_object_list([found])[0]
        self.callbacks.save(trainer, "stage II", 0, trainer.rng.bit_generator.state)

    def _learn(self, trainer: GeneratorTrainer, weight_K: np.ndarray, taken: int) -> None:
        """Stage II; the best model on the validation rows, else the averaged one, takes the last one's place."""
        self._train(trainer, "stage II", weight_K, self.config.generator.steps - self.config.warmup_steps, taken)
        if best := self.callbacks.best:
            fill(self.model.trained_parameters(), best["weights"])
        elif trainer.ema:
            fill(self.model.trained_parameters(), trainer.ema.averages)

    def _train(self, trainer: GeneratorTrainer, phase: str, weight_K: np.ndarray, steps: int, taken: int) -> None:
        after_step = self.callbacks.watch(trainer, phase)
        with self.phase(phase), self.stop.after_a_step():
            trainer.run(weight_K, steps, self.progress, taken=taken, after_step=after_step)

    def _finish(self, weight_K: np.ndarray, found: StageOne | None, feed: Feed) -> TrainReport:
        """Score the model on the test rows and write the checkpoint."""
        config, best, test = self.config, self.callbacks.best, self.index.of("test")
        machine_weight_N = weight_K[self.rows.machine]
        with self.phase("evaluate"):
            rows = RowReader(test, config.feed.buffer).stream(feed.skipped)
            scores, label_scores = evaluate_against_labels(self.model.heatmaps, rows)
            start_scores = self._start_scores(test) if config.start else None
        report = TrainReport(
            checkpoint=str(config.out),
            weighting=config.weighting,
            seed=config.seed,
            data_hash=self.rows.content_hash,
            base_models=self.model.base_models,
            rows={"human": len(self.rows.human), "machine": len(self.rows.machine), "test": len(test)},
            parameters=self.model.parameter_report(),
            seconds=self.seconds,
            loss=tuple(self.callbacks.losses),
            mean_weight=float(machine_weight_N.mean()) if len(machine_weight_N) else 0.0,
            snapshot=self.snapshot,
            skipped=len(feed.skipped),
            thinned=dict(self.index.thinned) | self._thinned_by_stage_one(found),
            validation=best and {"giou": best["giou"], "step": best["step"]},
            discriminator=found.scores.name if found else "",
            audit=audit(found.scores, truth_iou(found.machine)) if found else None,
            reliability=reliability_bins(found.scores) if found else (),
            scores=scores,
            label_scores=label_scores,
            start=self.start,
            start_scores=start_scores,
        )
        self.callbacks.close()
        if self.accelerator.is_main_process:
            state = found.scores.state if found else None
            save_checkpoint(config.out, self.model, report.facts(), model_card(report), state)
        self.accelerator.wait_for_everyone()
        return report

    def _start_scores(self, test: TrainingIndex) -> Evaluation | None:
        """What the checkpoint that was gone on from scores on the same rows."""
        trained = {name: value.detach().clone() for name, value in self.model.kept_tensors().items()}
        go_on_from(Path(self.config.start), self.model)
        scores, _ = evaluate_against_labels(self.model.heatmaps, RowReader(test, self.config.feed.buffer).stream({}))
        fill(self.model.kept_tensors(), trained)
        return scores

    def _thinned_by_stage_one(self, found: StageOne | None) -> dict[str, tuple[int, int]]:
        config = self.config.discriminator
        sizes = {"human": (len(self.rows.human), config.human), "machine": (len(self.rows.machine), config.machine)}
        return {f"discriminator.{name}": size for name, size in sizes.items() if found and size[0] > size[1]}

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a saved state to be gone on from."""
        config = asdict(self.config)
        for name in ("data", "out", "run", "embeddings"):
            del config[name]
        del config["feed"]["workers"]
        learning = {"precision": self.config.run.precision, "evaluate_every": self.config.run.evaluate_every}
        bases = self.model.base_models | {"start": self.start}
        return {"config": config, **learning, "data": self.rows.content_hash, "bases": bases}


def _index(data: DataSet, config: TrainConfig) -> TrainingIndex:
    index = index_of(data, config.rows)
    if config.run.evaluate_every:
        return hold_back(index, config.run.validation_share, config.run.validation_rows)
    return index
