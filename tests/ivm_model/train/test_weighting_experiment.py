import dataclasses

import numpy as np
import pytest

from benchmarks.weighting_experiment import ARMS, Comparison, SeedResult, compare, prepare
from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.metrics.evaluation import Evaluation
from ivm_model.metrics.mask_scores import Overlap, score_masks
from ivm_model.train.generator import GeneratorConfig
from ivm_model.train.trainer import TrainConfig
from storage.errors import ConfigError


@pytest.fixture
def config(bases, data, tmp_path) -> TrainConfig:
    return TrainConfig(
        data=data,
        out=tmp_path / "unused",
        sam=bases.sam,
        lmm=bases.lmm,
        rows=RowsConfig(test_share=0.3),
        discriminator=DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8),
        generator=GeneratorConfig(steps=4, batch=4),
    )


def _run(arm: str, seed: int, iou_N: np.ndarray) -> SeedResult:
    overlaps = [Overlap(int(1000 * iou), 1000) for iou in iou_N]
    return SeedResult(arm, seed, Evaluation(score_masks(overlaps), {}, {}, tuple(iou_N)))


@pytest.mark.slow
def test_every_arm_runs_under_every_seed_and_nothing_is_written(config):
    comparison = compare(prepare(config), seeds=(0, 1))
    assert [(run.arm, run.seed) for run in comparison.runs] == [(arm, seed) for seed in (0, 1) for arm in ARMS]
    assert len(comparison.audits) == 2
    assert not config.out.exists() and not (config.data / "weights").exists()
    assert [line.arm for line in comparison.summary()] == list(ARMS)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_arm(config):
    first, second = (compare(prepare(config), (0,), ("dwbc_ratio", "uniform")).runs[1].scores for _ in range(2))
    assert first == second


def test_a_gain_on_every_row_is_certain_and_noise_is_not():
    rng = np.random.default_rng(0)
    base = [rng.random(60) * 0.5 for _ in range(3)]
    runs = [_run("uniform", seed, base[seed]) for seed in range(3)]
    runs += [_run("better", seed, base[seed] + 0.1) for seed in range(3)]
    runs += [_run("same", seed, np.clip(base[seed] + rng.normal(0, 0.1, 60), 0, 1)) for seed in range(3)]
    uniform, better, same = Comparison(tuple(runs), ()).summary()
    assert (uniform.gain, uniform.gain_low, uniform.gain_high) == (0.0, 0.0, 0.0)
    assert better.gain == pytest.approx(0.1) and better.gain_low > 0.09
    assert same.gain_low < 0 < same.gain_high


def test_without_test_rows_there_is_nothing_to_compare_on(config):
    with pytest.raises(ConfigError, match="test_share"):
        prepare(dataclasses.replace(config, rows=RowsConfig(test_share=0.0)))
