import dataclasses

import numpy as np
import pytest
import torch

from ivm_model.data.examples import FeedConfig
from ivm_model.data.feed import Feed
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.engine.optimization import TrainingDivergedError
from ivm_model.train.generator import GeneratorConfig, GeneratorTrainer
from storage.errors import ConfigError


@pytest.fixture
def feed(model, index):
    """Four human rows."""
    return Feed(model, index.where(np.isin(np.arange(len(index)), index.human[:4])), FeedConfig(workers=0), 0)


def _trainer(model, feed, steps: int = 60, **options) -> GeneratorTrainer:
    torch.manual_seed(0)
    return GeneratorTrainer(model, feed, GeneratorConfig(steps=steps, batch=4, **options), seed=0)


def test_training_on_a_few_rows_lowers_their_loss(model, feed):
    losses = _trainer(model, feed, steps=150).run(np.ones(4, np.float32), 150)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_rows_of_weight_zero_are_never_drawn(model, feed):
    seen = []
    batches = feed.batches

    class Watched:
        epoch = feed.epoch

        def batches(self, draws):
            return batches(seen.append(draw) or draw for draw in draws)

    _trainer(model, Watched()).run(np.array([0, 1, 0, 0.5], np.float32), 5)
    drawn = np.concatenate(seen) % 4
    assert set(drawn) == {1, 3} and np.bincount(drawn)[1] == 10


def test_a_weight_that_is_nan_is_refused(model, feed):
    with pytest.raises(ConfigError, match="1 of 4 training rows have weight NaN"):
        _trainer(model, feed).run(np.array([1, 1, np.nan, 1], np.float32), 1)


@pytest.mark.parametrize("kind", ["empty", "everything"])
def test_empty_masks_and_masks_of_everything_train(model, make_label, commit, kind):
    image_HWC, mask_HW = np.zeros((32, 64, 3), np.uint8), np.full((32, 64), kind == "everything")
    index = index_rows(commit([make_label(image_HWC, "ok", machine=mask_HW)]), RowsConfig(test_share=0.0))
    losses = _trainer(model, Feed(model, index, FeedConfig(workers=0), 0)).run(np.ones(1, np.float32), 20)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_a_row_whose_every_pixel_is_ignored_teaches_nothing(model, feed):
    class Ignored:
        epoch = feed.epoch

        def batches(self, draws):
            for batch in feed.batches(draws):
                yield dataclasses.replace(batch, valid_BHW=torch.zeros_like(batch.valid_BHW))

    assert _trainer(model, Ignored()).run(np.ones(4, np.float32), 2) == [0, 0]


def test_the_weight_scales_the_loss(model, feed):
    full = _trainer(model, feed).run(np.ones(4, np.float32), 1)
    half = _trainer(model, feed).run(np.full(4, 0.5, np.float32), 1)
    assert half[0] == pytest.approx(full[0] / 2, rel=0.2)


def test_all_weights_zero_is_refused(model, feed):
    with pytest.raises(ConfigError, match="weight 0"):
        _trainer(model, feed).run(np.zeros(4, np.float32), 1)


def test_a_restored_trainer_goes_on_exactly_as_the_first_time(model, feed):
    trainer, weight_N = _trainer(model, feed), np.ones(4, np.float32)
    trainer.run(weight_N, 2)
    snapshot = trainer.snapshot()
    first = trainer.run(weight_N, 3)
    trainer.restore(snapshot)
    assert trainer.run(weight_N, 3) == first


def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_the_weights(model, feed):
    trainer = _trainer(model, feed)
    before = {name: value.detach().clone() for name, value in model.trained_parameters().items()}
    with pytest.raises(TrainingDivergedError, match="learning rates"):
        trainer.run(np.full(4, np.inf, np.float32), 1)
    assert all(torch.equal(value, before[name]) for name, value in model.trained_parameters().items())


def test_progress_is_reported_after_each_step(model, feed):
    seen = []
    _trainer(model, feed).run(np.ones(4, np.float32), 3, lambda *call: seen.append(call))
    assert seen == [("generator", 1, 3), ("generator", 2, 3), ("generator", 3, 3)]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"warmup": 1.5}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        GeneratorConfig(**wrong)
