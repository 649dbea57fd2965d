"""Does the weighting matter? The same rows, the same compute, several seeds, one arm for each weighting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ivm_model.data.dataset import TrainingRows, load_rows, truth_iou
from ivm_model.data.features import Features, decode_rows, encode_rows
from ivm_model.discriminator.audit import Audit, audit
from ivm_model.discriminator.masked_views import MaskedViews
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.discriminator.stage_one import DiscriminatorScores, prepare_views, run_stage_one
from ivm_model.engine.optimization import Progress, silent
from ivm_model.metrics.bootstrap import interval
from ivm_model.metrics.evaluation import Evaluation, score_heatmaps
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.co_teaching import ask_generators
from ivm_model.train.generator import GeneratorTrainer
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


@dataclass(frozen=True)
class ComparisonData:
    """What every arm and seed of a comparison has in common: its rows, and what the frozen models see of them."""

    config: TrainConfig
    rows: TrainingRows
    features: Features
    test: Features
    views: MaskedViews


def prepare(config: TrainConfig, progress: Progress = silent) -> ComparisonData:
    """Read and encode the rows of a comparison.

    Raises:
        ConfigError: no test rows.
    """
    rows = load_rows(config.data, config.rows)
    if not rows.test:
        raise ConfigError("nothing to compare on: no row with held-out truth is set aside; see 'test_share'")
    model = MaskingModel(config.model)
    features = encode_rows(model, rows.train, progress)
    test = encode_rows(model, rows.test, progress)
    views = prepare_views(model, features, config.discriminator, seed=config.seed, progress=progress)
    return ComparisonData(config, rows, features, test, views)


def compare(
    contest: ComparisonData, seeds: Sequence[int], arms: Sequence[str] = ARMS, progress: Progress = silent
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
        heat = _SeedRun(contest, seed, progress)
        audits.append(audit(heat.opinions, truth_iou(contest.rows.machine)))
        runs += [SeedResult(arm, seed, heat.run(arm)) for arm in arms]
    return Comparison(tuple(runs), tuple(audits))


class _SeedRun:
    """One seed: a shared warm-up and stage I, then one run of stage II for each arm."""

    def __init__(self, contest: ComparisonData, seed: int, progress: Progress) -> None:
        torch.manual_seed(seed)
        config, self.contest, self.seed, self.progress = contest.config, contest, seed, progress
        self.steps, self.warmup = config.generator.steps, config.generator.warmup_steps
        self.model = MaskingModel(config.model)
        self.trainer = GeneratorTrainer(self.model, contest.features, config.generator, seed)
        self.fresh = self.trainer.snapshot()
        self.trainer.run(np.ones(len(contest.rows.train), np.float32), self.warmup, progress)
        self.warm = self.trainer.snapshot()
        self.opinions = self._judge(config.discriminator)

    def run(self, arm: str) -> Evaluation:
        from_start = arm == "human_only"
        start = self.fresh if from_start else self.warm
        self.trainer.restore(start)
        weight_N = self._weigh(arm)
        self.trainer.restore(start)  # judges draw random numbers, and arms must not differ by that
        self.trainer.run(weight_N, self.steps - (0 if from_start else self.warmup), self.progress)
        test = self.contest.test
        with self.trainer.evaluating() as model:
            return score_heatmaps(decode_rows(model, test), test.rows)

    def _weigh(self, arm: str) -> np.ndarray:
        opinions = (
            self._judge(replace(self.contest.config.discriminator, loss="nnpu")) if arm == "nnpu" else self.opinions
        )
        ask = (arm, self.trainer, self.contest.features, self.fresh, self.warmup)
        heard = ask_generators(*ask, seed=self.seed, progress=self.progress)
        return weigh(arm, self.contest.rows, opinions, heard)

    def _judge(self, settings: DiscriminatorConfig) -> DiscriminatorScores:
        contest = self.contest
        return run_stage_one(
            self.model, contest.features, contest.views, settings, seed=self.seed, progress=self.progress
        )
