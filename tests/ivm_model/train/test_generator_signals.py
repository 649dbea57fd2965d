from dataclasses import replace

import numpy as np
import pytest
import torch

from ivm_model.data.examples import FeedConfig
from ivm_model.data.feed import Feed
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.model.checkpoint import read_config
from ivm_model.train.generator import GeneratorConfig, GeneratorTrainer
from ivm_model.train.generator_signals import ask_generators, co_teach, label_losses, measure
from ivm_model.train.signals import noise_rate, weigh
from ivm_model.train.trainer import TrainConfig, train_dwsl
from ivm_model.weighting.weightings import NEEDS_WARMUP
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.tables import reviews


@pytest.fixture
def training(index):
    return index.of("human", "machine")


@pytest.fixture(params=[0, 512], ids=["read each time", "in memory"])
def feed(model, training, request) -> Feed:
    return Feed(model, training, FeedConfig(workers=0, memory_mb=request.param), 0)


@pytest.fixture
def trainer(model, feed) -> GeneratorTrainer:
    return GeneratorTrainer(model, feed, GeneratorConfig(steps=8, batch=4), seed=0)


def test_the_measurer_overlaps_each_label_as_its_own_answer_does(model, feed):
    rows = RowReader(feed.index, 2).rows(feed.index.machine, {})
    images, instructions = zip(*((decode(row.image), row.instruction) for row in rows), strict=True)
    answers = [heatmap_HW >= 0.5 for heatmap_HW in model.heatmaps(images, instructions)]
    expected_N = [
        (answer_HW & label_HW).sum() / max(1, (answer_HW | label_HW).sum())
        for answer_HW, label_HW in zip(answers, [rle.decode(row.mask) for row in rows], strict=True)
    ]
    np.testing.assert_allclose(measure(model, feed), expected_N, atol=0.02)


def test_co_teaching_models_split_images_and_leave_the_trainer_as_it_was(trainer, feed):
    fresh, index = trainer.snapshot(), feed.index
    trainer.run(np.ones(len(index), np.float32), 2)
    before = trainer.snapshot()
    loss_N, fold_N = co_teach(trainer, feed, fresh, 2, seed=0)
    assert loss_N.shape == fold_N.shape == (len(index.machine),) and torch.isfinite(loss_N).all()
    assert set(fold_N.tolist()) == {0, 1}
    after = trainer.snapshot()
    assert all(torch.equal(after["weights"][name], value) for name, value in before["weights"].items())
    assert after["rng"] == before["rng"] and after["taken"] == before["taken"]


def test_a_co_teaching_model_has_not_learned_from_the_labels_that_it_scores(trainer, feed):
    fresh, index = trainer.snapshot(), feed.index
    loss_N, fold_N = co_teach(trainer, feed, fresh, 8, seed=0)
    first_N = index.machine[fold_N.numpy() == 0]
    weight_K = np.ones(len(index), np.float32)
    weight_K[first_N] = 0
    trainer.restore(fresh)
    trainer.run(weight_K, 8)
    torch.testing.assert_close(label_losses(trainer.model, feed, first_N), loss_N[fold_N == 0])


def test_the_engines_noise_is_measured_on_human_rows(training, rows):
    wrong = [rle.iou(row.machine_mask, row.mask) < 0.5 for row in rows.human]
    assert noise_rate(training) == pytest.approx(np.mean(wrong))
    assert np.isnan(noise_rate(training.of("machine")))


def test_the_noise_counts_what_people_confirmed_and_corrected(data, read_rows):
    config = RowsConfig(test_share=0.0)
    before = index_rows(data, config)
    wrong = round(noise_rate(before) * 10)
    right, corrected = read_rows(before).machine[:2]
    reviews.append(data, "recipe", right.sample_id, "ada", "right")
    elsewhere = rle.encode(~rle.decode(corrected.mask))
    reviews.append(data, "recipe", corrected.sample_id, "ada", "wrong", mask=elsewhere)
    assert noise_rate(index_rows(data, config)) == pytest.approx((wrong + 1) / 12)


def test_one_image_cannot_be_halved(model, training):
    index = training.where(np.isin(np.arange(len(training)), [*training.human, training.machine[0]]))
    feed = Feed(model, index, FeedConfig(workers=0), 0)
    trainer = GeneratorTrainer(model, feed, GeneratorConfig(steps=2, batch=2), seed=0)
    with pytest.raises(ConfigError, match="two images"):
        co_teach(trainer, feed, trainer.snapshot(), 1, seed=0)


def test_other_weightings_ask_nothing_of_generators(trainer, feed):
    assert ask_generators("clip_sigmoid", trainer, feed, {}, 1, seed=0) == {}


@pytest.mark.parametrize("memory", [0, 512])
@pytest.mark.parametrize("weighting", ["self_paced", "co_teaching"])
def test_training_with_a_generators_judgement_ends_in_weights_of_zero_and_one(data, bases, tmp_path, weighting, memory):
    generator = GeneratorConfig(steps=4, batch=4, warmup=0.5)
    feed = FeedConfig(workers=0, memory_mb=memory)
    config = TrainConfig(data, tmp_path / "model", bases.sam, bases.lmm, weighting, feed=feed, generator=generator)
    assert weighting in NEEDS_WARMUP
    report = train_dwsl(config)
    assert report.discriminator == "" and report.audit is None and "measure" in report.seconds
    assert 0 <= report.mean_weight < 1


class _Killed(BaseException):
    pass


def test_what_generators_said_outlives_a_killed_training(data, bases, tmp_path):
    generator = GeneratorConfig(steps=6, batch=4, warmup=0.5)
    whole = TrainConfig(data, tmp_path / "whole", bases.sam, bases.lmm, weighting="co_teaching", generator=generator)
    killed = replace(whole, out=tmp_path / "killed")
    steps = iter(range(3 + 2 * 3 + 1))  # warm-up, two co-teaching models, and one step of stage II

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "generator" and next(steps, None) is None:
            raise _Killed

    with pytest.raises(_Killed):
        train_dwsl(killed, kill)
    again, once = train_dwsl(killed), train_dwsl(whole)
    assert "measure" in once.seconds and "measure" not in again.seconds
    assert again.loss == once.loss
    assert read_config(killed.out)["weights"] == read_config(whole.out)["weights"]


def test_weighing_joins_what_generators_say_to_the_rows(training):
    generators = {"measured_iou_N": torch.linspace(0, 1, len(training.machine))}
    weight_K = weigh("self_paced", training, generators=generators)
    assert (weight_K[training.human] == 1).all()
    np.testing.assert_array_equal(weight_K[training.machine], generators["measured_iou_N"] > 0.5)


def test_rows_that_were_not_judged_weigh_nothing_and_do_not_count_for_the_ratio(training):
    d_N = np.full(len(training.machine), 0.8, np.float32)
    d_N[0] = np.nan
    weight_K = weigh("dwbc_ratio", training, d_N, "bce")
    assert weight_K[training.machine[0]] == 0 and (weight_K[training.human] == 1).all()
    np.testing.assert_allclose(weight_K[training.machine[1:]], 1, rtol=1e-6)
