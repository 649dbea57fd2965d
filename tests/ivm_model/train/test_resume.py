"""Trainings that are killed, stopped, and started again."""

import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers.models.llama.modeling_llama import LlamaMLP

from ivm_model.data.augment import AugmentConfig
from ivm_model.data.examples import FeedConfig
from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import hold_back, index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.engine.processes import RunConfig, TrainingStoppedError
from ivm_model.metrics.evaluation import evaluate
from ivm_model.model.checkpoint import read_config
from ivm_model.model.lmm import LoraSettings
from ivm_model.predictor import Predictor
from ivm_model.train.generator import GeneratorConfig
from ivm_model.train.model_card import TrainReport
from ivm_model.train.trainer import TrainConfig, train_dwsl
from storage.errors import ConfigError, IvmWarning, ShardError
from storage.parts.shards import commit_part
from storage.records import PartResult
from storage.upkeep.compact import compact


@pytest.fixture(scope="module")
def uninterrupted(labels, tmp_path_factory):
    """The report of a configuration's training that nothing interrupted, on the labels of `data`; trained once."""
    folder, done = tmp_path_factory.mktemp("uninterrupted"), {}
    commit_part(folder / "data", PartResult("part-0", "recipe", tuple(labels)))

    def trained(config: TrainConfig) -> TrainReport:
        key = repr(dataclasses.replace(config, data=folder, out=folder))
        if key not in done:
            there = {"data": folder / "data", "out": folder / f"model-{len(done)}"}
            done[key] = train_dwsl(dataclasses.replace(config, **there))
        return done[key]

    return trained


@pytest.fixture
def config(bases, data, tmp_path) -> TrainConfig:
    return TrainConfig(
        data=data,
        out=tmp_path / "model",
        sam=bases.sam,
        lmm=bases.lmm,
        rows=RowsConfig(test_share=0.3),
        discriminator=DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8),
        generator=GeneratorConfig(steps=24, batch=4, ema=0.9),
        run=RunConfig(save_every=2),
    )


def wait_for_state(config: TrainConfig, step: int) -> None:
    """Until the state of a step is there; the process must not have finished before."""
    deadline = time.monotonic() + 200
    while not any(int(path.name) >= step for path in (config.out / "state").glob("[0-9]*")):
        assert time.monotonic() < deadline and not (config.out / "config.json").exists()
        time.sleep(0.005)


def weights(made: TrainConfig | TrainReport) -> str:
    """The hash of the parameters that a training left."""
    return read_config(made.out if isinstance(made, TrainConfig) else Path(made.checkpoint))["weights"]


class Killed(BaseException):
    """Ends a training from within, as nothing in it catches this."""


def at(stage: str, done: int, do: Callable[[], None]):
    """A progress callback that does something once, as soon as so much of a stage is done."""
    once = [do]

    def progress(seen: str, count: int, _total: int) -> None:
        if once and seen == stage and count >= done:
            once.pop()()

    return progress


def kill_at(stage: str, done: int):
    def kill() -> None:
        raise Killed

    return at(stage, done, kill)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_parameters(config, start, uninterrupted):
    whole = uninterrupted(config)
    child = start(config)
    wait_for_state(config, 9)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not (config.out / "config.json").exists()
    child.stderr.close()
    report = train_dwsl(config)
    assert report.loss == whole.loss and report.discriminator == whole.discriminator
    first, second = (load_file(path / "model.safetensors") for path in (config.out, Path(whole.checkpoint)))
    assert first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)
    assert not (config.out / "state").exists()


@pytest.mark.parametrize(("stage", "done"), [("generator", 3), ("discriminator 2/2", 1), ("views", 1)])
def test_wherever_a_training_ends_it_goes_on_exactly(config, uninterrupted, stage, done):
    config = dataclasses.replace(config, generator=GeneratorConfig(steps=8, batch=4), run=RunConfig(save_every=1))
    with pytest.raises(Killed):
        train_dwsl(config, kill_at(stage, done))
    if stage == "generator":
        with pytest.raises(Killed):
            train_dwsl(config, kill_at("generator", 5))
    train_dwsl(config)
    assert weights(config) == weights(uninterrupted(config))


def test_sigterm_writes_the_state_and_says_how_to_go_on(config):
    config = dataclasses.replace(config, run=RunConfig(save_every=1000))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStoppedError, match=r"after step 3; the state is in .*same command goes on"):
        train_dwsl(config, at("generator", 3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert [path.name for path in (config.out / "state").iterdir()] == ["00000003"]
    assert signal.getsignal(signal.SIGTERM) is before
    seen = []
    train_dwsl(config, lambda stage, done, _: seen.append(done) if stage == "generator" else None)
    assert seen[0] == 4


def test_sigterm_before_the_first_step_ends_at_once(config):
    with pytest.raises(TrainingStoppedError, match="last saved state, if any"):
        train_dwsl(config, at("encode", 1, lambda: os.kill(os.getpid(), signal.SIGTERM)))


def test_a_torn_state_is_named_and_the_one_before_it_is_used(config, uninterrupted):
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 5))
    last = max((config.out / "state").iterdir())
    (last / "state.pt").write_bytes((last / "state.pt").read_bytes()[:-100])
    with pytest.warns(IvmWarning, match=f"{last.name}.*torn"):
        train_dwsl(config)
    assert weights(config) == weights(uninterrupted(config))


def test_a_foreign_folder_is_no_state(config):
    (config.out / "state" / "00000099").mkdir(parents=True)
    (config.out / "state" / "00000099" / "state.json").write_text(json.dumps([1]))
    with pytest.warns(IvmWarning, match="not a training state"):
        train_dwsl(dataclasses.replace(config, weighting="uniform", generator=GeneratorConfig(steps=1, batch=4)))


@pytest.mark.parametrize("change", [{"seed": 1}, {"rows": RowsConfig(test_share=0.3, max_rows=12)}])
def test_the_state_of_another_config_or_other_data_is_refused(config, change):
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 3))
    with pytest.raises(ConfigError, match="another configuration, data"):
        train_dwsl(dataclasses.replace(config, **change))


@pytest.mark.parametrize("memory", [0, 512])
def test_what_happens_to_the_labels_meanwhile_does_not_change_a_training(config, grow, tmp_path, memory):
    config = dataclasses.replace(
        config,
        weighting="verification",
        generator=GeneratorConfig(steps=9, batch=4),
        feed=FeedConfig(workers=0, memory_mb=memory),
    )
    whole = train_dwsl(dataclasses.replace(config, out=tmp_path / "whole"))
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 5))
    grow(config.data)
    compact(config.data)
    with pytest.warns(IvmWarning, match=f"goes on with the rows of snapshot {whole.snapshot}"):
        report = train_dwsl(config)
    assert weights(config) == weights(whole)
    assert (report.snapshot, report.rows, report.data_hash) == (whole.snapshot, whole.rows, whole.data_hash)
    later = train_dwsl(config)
    assert later.snapshot != whole.snapshot and sum(later.rows.values()) > sum(whole.rows.values())


def test_a_compaction_leaves_a_training_its_files_and_the_next_one_removes_them(config, grow, tmp_path):
    grow(config.data)
    config = dataclasses.replace(
        config,
        weighting="verification",
        generator=GeneratorConfig(steps=9, batch=4),
        feed=FeedConfig(workers=0, memory_mb=0, buffer=1),
    )
    whole = train_dwsl(dataclasses.replace(config, out=tmp_path / "whole"))
    files = set((config.data / "labels" / "recipe").glob("*.parquet"))
    train_dwsl(config, at("generator", 2, lambda: compact(config.data)))
    assert weights(config) == weights(dataclasses.replace(config, out=tmp_path / "whole")) and whole.skipped == 0
    left = set((config.data / "labels" / "recipe").glob("*.parquet"))
    assert len(left) == len(files) + 2 == 6
    compact(config.data)
    assert set((config.data / "labels" / "recipe").glob("*.parquet")) == left - files


def test_a_training_whose_rows_are_gone_says_how_to_go_on(config, labels):
    config = dataclasses.replace(config, generator=GeneratorConfig(steps=10, batch=4))
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 5))
    shutil.rmtree(config.data / "labels")
    commit_part(config.data, PartResult("part-1", "recipe", tuple(labels)))
    with pytest.raises(
        ShardError, match=r"labels/recipe/part-0[^$]*Bring them back, or remove '.*state' to start again"
    ):
        train_dwsl(config)
    shutil.rmtree(config.out / "state")
    assert train_dwsl(config).rows["human"] == 10


def test_a_checkpoint_folder_that_was_moved_aside_comes_back(config):
    config = dataclasses.replace(config, generator=GeneratorConfig(steps=10, batch=4))
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 5))
    aside = config.out.with_name(f".{config.out.name}.abcd1234.ivm-old")
    config.out.rename(aside)
    first = []
    train_dwsl(config, lambda stage, done, _: first.append(done) if stage == "generator" else None)
    assert first[0] == 5 and not aside.exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_learn_as_one_with_twice_the_batch_does(config, start, tmp_path, shard):
    config = dataclasses.replace(
        config,
        weighting="uniform",
        lora=LoraSettings(dropout=0.0),
        generator=GeneratorConfig(steps=6, batch=2),
        run=RunConfig(shard=shard),
    )
    alone = {"generator": GeneratorConfig(steps=6, batch=4), "run": RunConfig(), "out": tmp_path / "one"}
    one = train_dwsl(dataclasses.replace(config, **alone))
    launcher = start(config, processes=2)
    _, said = launcher.communicate(timeout=100)
    assert launcher.returncode == 0, said
    two = json.loads((config.out / "losses.json").read_text())
    np.testing.assert_allclose(two, one.loss, rtol=1e-5)
    first, second = (load_file(path / "model.safetensors") for path in (config.out, tmp_path / "one"))
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)


def test_accumulated_batches_learn_as_one_large_batch_does(config, tmp_path):
    config = dataclasses.replace(
        config,
        weighting="uniform",
        lora=LoraSettings(dropout=0.0),
        generator=GeneratorConfig(steps=4, batch=2, accumulate=3),
    )
    whole = dataclasses.replace(config, generator=GeneratorConfig(steps=4, batch=6), out=tmp_path / "whole")
    np.testing.assert_allclose(train_dwsl(config).loss, train_dwsl(whole).loss, rtol=1e-5)


def test_gradient_checkpointing_computes_layers_again_and_learns_the_same(config, tmp_path, monkeypatch):
    calls, forward = [], LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: calls.append(torch.is_grad_enabled()) or forward(self, x))
    config = dataclasses.replace(
        config, weighting="uniform", rows=RowsConfig(test_share=0), generator=GeneratorConfig(steps=3, batch=4)
    )
    losses = train_dwsl(config).loss
    kept = len(calls)
    frugal = dataclasses.replace(config, out=tmp_path / "frugal", run=RunConfig(gradient_checkpointing=True))
    assert train_dwsl(frugal).loss == losses and len(calls) - kept == 2 * kept


def test_bfloat16_learns_nearly_the_same(config, tmp_path):
    config = dataclasses.replace(config, weighting="uniform", generator=GeneratorConfig(steps=4, batch=4))
    half = dataclasses.replace(config, out=tmp_path / "half", run=RunConfig(precision="bf16"))
    exact, rounded = train_dwsl(config).loss, train_dwsl(half).loss
    assert exact != rounded
    np.testing.assert_allclose(rounded, exact, rtol=0.02)


def test_the_best_model_on_validation_rows_is_kept(config):
    config = dataclasses.replace(
        config,
        weighting="uniform",
        generator=GeneratorConfig(steps=6, batch=4),
        run=RunConfig(evaluate_every=2, validation_share=0.5, tensorboard=True),
    )
    report = train_dwsl(config)
    assert report.validation["step"] in (2, 4, 6)
    split = hold_back(index_rows(config.data, config.rows), 0.5, config.run.validation_rows)
    held = split.of("validation")
    assert report.data_hash == split.of("human", "machine").content_hash and report.rows["human"] + len(held) == 10
    giou = evaluate(Predictor.from_pretrained(config.out).heatmaps, RowReader(held, 1).stream({})).overall.giou
    assert giou == pytest.approx(report.validation["giou"])
    events = EventAccumulator(str(config.out / "tb")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Scalars("validation/giou")] == [2, 4, 6]


def test_a_training_that_reads_each_row_anew_goes_on_exactly_with_other_workers(config, uninterrupted):
    config = dataclasses.replace(
        config,
        weighting="verification",
        generator=GeneratorConfig(steps=9, batch=4),
        feed=FeedConfig(workers=0, memory_mb=0, repeat={"human": 2}, augment=AugmentConfig(flip=0.5, colour=0.2)),
    )
    whole = uninterrupted(config)
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("generator", 6))
    two_workers = dataclasses.replace(config, feed=dataclasses.replace(config.feed, workers=2))
    assert train_dwsl(two_workers).loss == whole.loss and whole.skipped == 0
    assert weights(config) == weights(whole)
