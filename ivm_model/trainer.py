"""Discriminator Weighted Supervised Learning from labeled shards to a checkpoint (IVM, arXiv 2405.19783)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ivm_model.audit import audit
from ivm_model.checkpoint import save_checkpoint, tensor_hash
from ivm_model.dataset import DataConfig, Rows, load_rows, truth_iou
from ivm_model.decoder import DecoderConfig
from ivm_model.discriminator import DiscriminatorConfig
from ivm_model.evaluation import evaluate, evaluate_labels
from ivm_model.features import encode_rows
from ivm_model.generator import GeneratorConfig, GeneratorTrainer
from ivm_model.lmm import LoraSettings
from ivm_model.model import MaskingModel, ModelConfig
from ivm_model.optimization import Progress, silent
from ivm_model.report import TrainReport, model_card
from ivm_model.stage_one import Opinions, prepare_views, run_stage_one
from ivm_model.weighting import NEEDS_DISCRIMINATOR, Evidence, get_weighting
from storage.errors import ConfigError
from storage.records import Weight
from storage.shards import write_weights


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    Attributes:
        data: data folder with labeled shards.
        out: directory of the checkpoint.
        sam, lmm: base models, directories or hub ids.
        weighting: a key of `ivm_model.weighting.WEIGHTINGS`.
        seed: of weights, order and wrong masks.
    """

    data: Path
    out: Path
    sam: str
    lmm: str
    weighting: str = "clip_sigmoid"
    seed: int = 0
    rows: DataConfig = field(default_factory=DataConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    def __post_init__(self) -> None:
        get_weighting(self.weighting)
        if self.seed < 0:
            raise ConfigError(f"'seed' must be 0 or more, got {self.seed}")

    @property
    def model(self) -> ModelConfig:
        """What the masking model is made of."""
        return ModelConfig(self.sam, self.lmm, self.lora, self.decoder)


def train_dwsl(config: TrainConfig, progress: Progress = silent) -> TrainReport:
    """Train, weigh, evaluate, audit, and write the checkpoint and the discriminator's weights.

    The generator learns for a while with uniform weights; stage I then judges each machine label, also by how it agrees
    with that generator; stage II goes on with the judged weights.

    Raises:
        ConfigError: the data or the weighting cannot be used.
        WeightsError: a base model cannot be read.
        TrainingDivergedError: a loss is not finite.
    """
    clock = _Clock()
    rows = load_rows(config.data, config.rows)
    torch.manual_seed(config.seed)
    model = MaskingModel(config.model)
    with clock.phase("encode"):
        features = encode_rows(model, rows.train, progress)
    trainer = GeneratorTrainer(model, features, config.generator, config.seed)
    needs_d = config.weighting in NEEDS_DISCRIMINATOR
    warmup_steps = config.generator.warmup_steps if needs_d else 0
    with clock.phase("warm-up"):
        losses = trainer.run(np.ones(len(rows.train), np.float32), warmup_steps, progress)
    opinions = None
    if needs_d:
        with clock.phase("stage I"):
            views = prepare_views(model, features, config.discriminator, seed=config.seed, progress=progress)
            opinions = run_stage_one(model, features, views, config.discriminator, seed=config.seed, progress=progress)
    weight_N = weigh(config.weighting, rows, opinions)
    with clock.phase("stage II"):
        losses += trainer.run(weight_N, config.generator.steps - warmup_steps, progress)
    with clock.phase("evaluate"):
        scores = evaluate(model.heatmaps, rows.test) if rows.test else None
        label_scores = evaluate_labels(rows.test) if rows.test else None
    report = TrainReport(
        checkpoint=str(config.out),
        weighting=config.weighting,
        seed=config.seed,
        data_hash=rows.content_hash,
        base_models=model.base_models,
        rows={"human": len(rows.human), "machine": len(rows.machine), "test": len(rows.test)},
        parameters=model.parameter_report(),
        seconds=clock.seconds,
        loss=tuple(losses),
        mean_weight=float(weight_N[len(rows.human) :].mean()) if rows.machine else 0.0,
        discriminator="" if opinions is None else append_weights(config, rows, opinions),
        audit=None if opinions is None else audit(opinions, truth_iou(rows.machine)),
        scores=scores,
        label_scores=label_scores,
    )
    state = None if opinions is None else opinions.state
    save_checkpoint(config.out, model, report.facts(), model_card(report), state)
    return report


def append_weights(config: TrainConfig, rows: Rows, opinions: Opinions) -> str:
    """Append D of every machine row as a Weight shard; returns the discriminator's name."""
    name = f"discriminator@{tensor_hash(opinions.state)}"
    machine = opinions.views.where("machine")
    weights = [
        Weight(row.sample_id, row.recipe, name, float(opinions.d_M[i]), int(opinions.fold_M[i]))
        for row, i in zip(rows.machine, machine, strict=True)
    ]
    write_weights(config.data, name, "all", weights)
    return name


def weigh(weighting: str, rows: Rows, opinions: Opinions | None) -> np.ndarray:
    """One weight for each training row, weight_N float32: human rows 1, machine rows by the weighting."""
    evidence = Evidence(
        count=len(rows.machine),
        d_N=None if opinions is None else opinions.of("machine"),
        verification_N=np.array([row.verification for row in rows.machine], np.float32),
        quality_N=np.array([row.quality for row in rows.machine], np.float32),
        accepted_N=np.array([row.accepted for row in rows.machine], np.float32),
        truth_iou_N=truth_iou(rows.machine),
    )
    return np.concatenate([np.ones(len(rows.human), np.float32), get_weighting(weighting)(evidence)])


class _Clock:
    """Wall-clock seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
