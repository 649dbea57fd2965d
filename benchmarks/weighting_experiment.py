"""Does the weighting matter? The same rows, the same compute, several seeds, one arm for each weighting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from ivm_model.data.features import DECODE_BATCH, Features, encode_rows
from ivm_model.data.feed import Feed
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import TrainingIndex, index_rows
from ivm_model.data.training_rows import TrainingRow, truth_iou
from ivm_model.discriminator.audit import Audit, audit
from ivm_model.discriminator.masked_views import MaskedViews
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.discriminator.stage_one import DiscriminatorScores, prepare_views, run_stage_one, stage_one_rows
from ivm_model.engine.optimization import Progress, silent
from ivm_model.metrics.bootstrap import interval
from ivm_model.metrics.evaluation import Evaluation, score_answers
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.train.generator_signals import ask_generators
from ivm_model.train.signals import weigh
from ivm_model.train.train_config import TrainConfig
from ivm_model.weighting.weightings import WEIGHTINGS
from storage.errors import ConfigError

ARMS = tuple(WEIGHTINGS)


@dataclass(frozen=True)
class SeedResult:
    """One arm under one seed."""

    arm: str
    seed: int
    scores: Evaluation


@dataclass(frozen=True)
class ArmSummary:
    """An arm over all seeds.

    Attributes:
        giou: mean over seeds; `giou_std` is their standard deviation (NaN for one seed).
        gain: mean difference of gIoU to the baseline arm, row by row and seed by seed.
        gain_low, gain_high: 95 % interval of the gain, bootstrapped over seeds and rows together.
    """

    arm: str
    giou: float
    giou_std: float
    ciou: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class Comparison:
    """All runs, and the audit of each seed's discriminator."""

    runs: tuple[SeedResult, ...]
    audits: tuple[Audit, ...]

    def summary(self, baseline: str = "uniform") -> list[ArmSummary]:
        """One line for each arm, in the order of the runs."""
        return [self._summarise(arm, baseline) for arm in dict.fromkeys(run.arm for run in self.runs)]

    def facts(self) -> dict[str, Any]:
        """JSON values: the summary, the audits, and each run's scores without single rows."""
        return {
            "summary": [asdict(each) for each in self.summary()],
            "audits": [asdict(each) for each in self.audits],
            "runs": [
                {
                    "arm": run.arm,
                    "seed": run.seed,
                    "overall": asdict(run.scores.overall),
                    "by_kind": {kind: each.giou for kind, each in run.scores.by_kind.items()},
                    "by_difficulty": {name: each.giou for name, each in run.scores.by_difficulty.items()},
                }
                for run in self.runs
            ],
        }

    def _ious(self, arm: str) -> np.ndarray:
        """IoU of each seed's run on each row, SN."""
        return np.array([run.scores.iou_N for run in self.runs if run.arm == arm])

    def _summarise(self, arm: str, baseline: str) -> ArmSummary:
        iou_SN = self._ious(arm)
        giou_S = iou_SN.mean(1)
        gain_SN = iou_SN - self._ious(baseline)
        low, high = interval(lambda seeds, rows: gain_SN[seeds][:, rows].mean(), *gain_SN.shape)
        return ArmSummary(
            arm=arm,
            giou=float(giou_S.mean()),
            giou_std=float(giou_S.std(ddof=1)) if len(giou_S) > 1 else float("nan"),
            ciou=float(np.mean([run.scores.overall.ciou for run in self.runs if run.arm == arm])),
            gain=float(gain_SN.mean()),
            gain_low=low,
            gain_high=high,
        )


MEMORY_MB = 4096
"""For the features of all rows of a comparison: 64,000 rows of the embedded experts."""


@dataclass(frozen=True)
class ComparisonData:
    """What every arm and seed of a comparison has in common: its rows, and what the frozen models see of them.

    Attributes:
        feed: all training rows, in memory.
        rows: the same rows whole, human ones first; `index_N` tells where each is in the feed.
        views: what the discriminators look at.
        test, test_rows: the rows that score.
    """

    config: TrainConfig
    feed: Feed
    index_N: np.ndarray
    rows: tuple[TrainingRow, ...]
    views: MaskedViews
    test: Features
    test_rows: tuple[TrainingRow, ...]

    @property
    def index(self) -> TrainingIndex:
        """The training rows."""
        return self.feed.index

    @property
    def machine(self) -> tuple[TrainingRow, ...]:
        """The machine rows, in the order of the views."""
        return tuple(row for row in self.rows if row.origin == "machine")

    @property
    def features(self) -> Features:
        """The features of `rows`."""
        return self.feed.features_of(self.index_N, self.rows)

    def in_index_order(self, scores: DiscriminatorScores) -> np.ndarray:
        """D of every machine row, d_N in the order of the index."""
        d_K = np.full(len(self.index), np.nan, np.float32)
        d_K[self.index_N[[row.origin == "machine" for row in self.rows]]] = scores.of("machine")
        return d_K[self.index.machine]


def prepare(config: TrainConfig, progress: Progress = silent) -> ComparisonData:
    """Read and encode the rows of a comparison; the discriminators learn from all of them.

    Raises:
        ConfigError: no test rows.
    """
    index = index_rows(config.data, config.rows)
    training, test = index.of("human", "machine"), index.of("test")
    if not len(test):
        raise ConfigError("nothing to compare on: no row with held-out truth is set aside; see 'test_share'")
    model, problems = MaskingModel(config.model), dict[str, str]()
    feed = Feed(model, training, replace(config.feed, memory_mb=MEMORY_MB), config.seed, progress=progress)
    every = replace(config.discriminator, human=max(2, len(training.human)), machine=max(2, len(training.machine)))
    index_N, rows = stage_one_rows(feed, every)
    views = prepare_views(model, rows, config.discriminator, seed=config.seed, progress=progress)
    test_rows = sorted(RowReader(test, config.feed.buffer).stream(problems), key=lambda row: row.sample_id)
    return ComparisonData(config, feed, index_N, rows, views, encode_rows(model, test_rows, progress), tuple(test_rows))


def heatmaps(model: MaskingModel, features: Features, rows: Sequence[TrainingRow]) -> Iterator[np.ndarray]:
    """The model's heatmap of each row, HW float32 in [0, 1] of the mask's size."""
    for start in range(0, len(rows), DECODE_BATCH):
        index_B = np.arange(start, min(start + DECODE_BATCH, len(rows)))
        decoded = model.decode(features.encoded_rows(index_B), [rows[i].instruction for i in index_B])
        for row, heatmap_HW in zip(rows[start : start + DECODE_BATCH], decoded, strict=True):
            yield cv2.resize(heatmap_HW, (row.mask.width, row.mask.height))


def compare(
    comparison: ComparisonData, seeds: Sequence[int], arms: Sequence[str] = ARMS, progress: Progress = silent
) -> Comparison:
    """Train every arm under every seed. Nothing is written.

    Arms of a seed share the warm-up with uniform weights, except "human_only", which sees human labels in all steps;
    each arm takes `config.generator.steps` steps in all, beside those of its judges.

    Raises:
        ConfigError: an arm lacks what it needs.
    """
    runs: list[SeedResult] = []
    audits: list[Audit] = []
    for seed in seeds:
        run = SeedRun(comparison, seed, progress)
        audits.append(audit(run.scores, truth_iou(comparison.machine)))
        runs += [SeedResult(arm, seed, run.train(arm)) for arm in arms]
    return Comparison(tuple(runs), tuple(audits))


class SeedRun:
    """One seed: a shared warm-up and stage I, then one run of stage II for each arm.

    Attributes:
        scores: what the discriminators of this seed say.
    """

    def __init__(self, comparison: ComparisonData, seed: int, progress: Progress = silent) -> None:
        torch.manual_seed(seed)
        config, self.comparison, self.seed, self.progress = comparison.config, comparison, seed, progress
        self.steps, self.warmup = config.generator.steps, config.generator.warmup_steps
        self.model = MaskingModel(config.model)
        self.trainer = GeneratorTrainer(self.model, comparison.feed, config.generator, seed)
        self.fresh = self.trainer.snapshot()
        self.trainer.run(np.ones(len(comparison.index), np.float32), self.warmup, progress)
        self.warm = self.trainer.snapshot()
        self.scores = self._judge(config.discriminator)

    def train(self, arm: str) -> Evaluation:
        """Stage II under the weighting of that name."""
        from_start = arm == "human_only"
        start = self.fresh if from_start else self.warm
        self.trainer.restore(start)
        weight_K = self._weigh(arm)
        self.trainer.restore(start)  # judges draw random numbers, and arms must not differ by that
        self.trainer.run(weight_K, self.steps - (0 if from_start else self.warmup), self.progress)
        test, rows = self.comparison.test, self.comparison.test_rows
        with self.trainer.evaluating() as model:
            return score_answers(zip(rows, heatmaps(model, test, rows), strict=True))

    def _weigh(self, arm: str) -> np.ndarray:
        config = self.comparison.config.discriminator
        if arm == "nnpu":
            config = replace(config, loss="nnpu")
        scores = self._judge(config) if arm == "nnpu" else self.scores
        ask = (arm, self.trainer, self.comparison.feed, self.fresh, self.warmup)
        generators = ask_generators(*ask, seed=self.seed, progress=self.progress)
        d_N = None if generators else self.comparison.in_index_order(scores)
        return weigh(arm, self.comparison.index, d_N, config.loss, generators)

    def _judge(self, settings: DiscriminatorConfig) -> DiscriminatorScores:
        data = self.comparison
        return run_stage_one(self.model, data.features, data.views, settings, seed=self.seed, progress=self.progress)
