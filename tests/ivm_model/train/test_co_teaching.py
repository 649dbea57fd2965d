from dataclasses import replace

import numpy as np
import pytest
import torch

from ivm_model.data.dataset import decode_image
from ivm_model.data.features import encode_rows
from ivm_model.model.checkpoint import read_config
from ivm_model.train.co_teaching import ask_generators, ask_peers, label_losses, measure, noise_rate
from ivm_model.train.generator import GeneratorConfig, GeneratorTrainer
from ivm_model.train.signals import weigh
from ivm_model.train.trainer import TrainConfig, train_dwsl
from ivm_model.weighting.weightings import NEEDS_WARMUP
from storage import rle
from storage.errors import ConfigError


@pytest.fixture
def features(model, rows):
    return encode_rows(model, rows.train)


@pytest.fixture
def trainer(model, features) -> GeneratorTrainer:
    return GeneratorTrainer(model, features, GeneratorConfig(steps=8, batch=4), seed=0)


def test_the_measurer_overlaps_each_label_as_its_own_answer_does(model, features, rows):
    images, instructions = zip(*((decode_image(row), row.instruction) for row in rows.machine), strict=True)
    answers = [heatmap_HW >= 0.5 for heatmap_HW in model.heatmaps(images, instructions)]
    expected_N = [
        (answer_HW & label_HW).sum() / max(1, (answer_HW | label_HW).sum())
        for answer_HW, label_HW in zip(answers, [rle.decode(row.mask) for row in rows.machine], strict=True)
    ]
    np.testing.assert_allclose(measure(model, features), expected_N, atol=0.02)


def test_peers_split_images_and_leave_the_trainer_as_it_was(trainer, features, rows):
    fresh = trainer.snapshot()
    trainer.run(np.ones(len(rows.train), np.float32), 2)
    before = trainer.snapshot()
    loss_N, fold_N = ask_peers(trainer, features, fresh, 2, seed=0)
    assert loss_N.shape == fold_N.shape == (len(rows.machine),) and torch.isfinite(loss_N).all()
    assert set(fold_N.tolist()) == {0, 1}
    after = trainer.snapshot()
    assert all(torch.equal(after["weights"][name], value) for name, value in before["weights"].items())
    assert after["rng"] == before["rng"] and after["taken"] == before["taken"]


def test_a_peer_has_not_learned_from_the_labels_that_it_scores(trainer, features, rows):
    fresh = trainer.snapshot()
    loss_N, fold_N = ask_peers(trainer, features, fresh, 8, seed=0)
    first_N = np.flatnonzero(fold_N.numpy() == 0) + len(rows.human)
    weight_R = np.ones(len(rows.train), np.float32)
    weight_R[first_N] = 0
    trainer.restore(fresh)
    trainer.run(weight_R, 8)
    torch.testing.assert_close(label_losses(trainer.model, features, first_N), loss_N[fold_N == 0])


def test_the_engines_noise_is_measured_on_human_rows(rows):
    wrong = [rle.iou(row.machine_mask, row.mask) < 0.5 for row in rows.human]
    assert noise_rate(rows.human) == pytest.approx(np.mean(wrong))
    assert np.isnan(noise_rate(rows.machine))


def test_one_image_cannot_be_halved(model, rows):
    features = encode_rows(model, (*rows.human, rows.machine[0]))
    trainer = GeneratorTrainer(model, features, GeneratorConfig(steps=2, batch=2), seed=0)
    with pytest.raises(ConfigError, match="two images"):
        ask_peers(trainer, features, trainer.snapshot(), 1, seed=0)


def test_other_weightings_hear_nothing_from_generators(trainer, features):
    assert ask_generators("clip_sigmoid", trainer, features, {}, 1, seed=0) == {}


@pytest.mark.parametrize("weighting", ["self_paced", "co_teaching"])
def test_training_with_a_generators_judgement_ends_in_weights_of_zero_and_one(data, bases, tmp_path, weighting):
    generator = GeneratorConfig(steps=4, batch=4, warmup=0.5)
    config = TrainConfig(data, tmp_path / "model", bases.sam, bases.lmm, weighting=weighting, generator=generator)
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
    steps = iter(range(3 + 2 * 3 + 1))  # warm-up, two peers, and one step of stage II

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "generator" and next(steps, None) is None:
            raise _Killed

    with pytest.raises(_Killed):
        train_dwsl(killed, kill)
    again, once = train_dwsl(killed), train_dwsl(whole)
    assert "measure" in once.seconds and "measure" not in again.seconds
    assert again.loss == once.loss
    assert read_config(killed.out)["weights"] == read_config(whole.out)["weights"]


def test_weighing_joins_what_was_heard_to_the_rows(rows):
    heard = {"measured_iou_N": torch.linspace(0, 1, len(rows.machine))}
    weight_N = weigh("self_paced", rows, None, heard)
    assert (weight_N[: len(rows.human)] == 1).all()
    np.testing.assert_array_equal(weight_N[len(rows.human) :], heard["measured_iou_N"] > 0.5)
