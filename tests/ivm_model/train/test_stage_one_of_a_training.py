"""Stage I within a training: a choice of rows teaches, every machine row is judged, and a kill loses nothing."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivm_model.data.examples import FeedConfig
from ivm_model.data.feed import Feed
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.discriminator.stage_one import stage_one_rows
from ivm_model.engine.processes import RunConfig
from ivm_model.model.checkpoint import read_config
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorConfig
from ivm_model.train.model_card import TrainReport
from ivm_model.train.trainer import TrainConfig, train_dwsl
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts import layout
from storage.parts.shards import commit_part
from storage.records import PartResult


@pytest.fixture(scope="module")
def shards(labels, tmp_path_factory) -> Path:
    """Three parts of ten labels each."""
    data = tmp_path_factory.mktemp("streamed") / "data"
    for part in range(3):
        commit_part(data, PartResult(f"part-{part}", "recipe", tuple(labels[10 * part : 10 * part + 10])))
    return data


def make_config(bases, shards: Path, folder: Path) -> TrainConfig:
    """A training on a copy of the shards, as weights are written beside them."""
    shutil.copytree(shards, folder / "data")
    return TrainConfig(
        data=folder / "data",
        out=folder / "model",
        sam=bases.sam,
        lmm=bases.lmm,
        rows=RowsConfig(test_share=0.3),
        discriminator=DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8, human=6, machine=6),
        generator=GeneratorConfig(steps=6, batch=4, warmup=0.34),
        run=RunConfig(save_every=3),
        feed=FeedConfig(workers=0, memory_mb=0),
    )


@pytest.fixture
def config(bases, shards, tmp_path) -> TrainConfig:
    return make_config(bases, shards, tmp_path)


@pytest.fixture(scope="module")
def whole(bases, shards, tmp_path_factory) -> tuple[TrainConfig, TrainReport]:
    """The same training, never killed."""
    config = make_config(bases, shards, tmp_path_factory.mktemp("whole"))
    return config, train_dwsl(config)


def written(config: TrainConfig) -> dict[str, list[dict]]:
    return {path.stem: pq.read_table(path).to_pylist() for path in (config.data / "weights").rglob("*.parquet")}


class Killed(BaseException):
    """Ends a training from within, as nothing in it catches this."""


def kill_at(stage: str, done: int):
    def progress(seen: str, count: int, _total: int) -> None:
        if seen == stage and count >= done:
            raise Killed

    return progress


def test_every_machine_row_is_judged_in_the_shard_of_its_part(whole):
    config, report = whole
    index, shards = index_rows(config.data, config.rows), written(config)
    expected = {f"part-{i}": [] for i in range(3)}
    for k in index.machine:
        expected[index.words("part")[k]].append(index.words("sample_id")[k])
    assert {part: [row["sample_id"] for row in rows] for part, rows in shards.items()} == expected
    judged = [row for rows in shards.values() for row in rows]
    assert {row["discriminator"] for row in judged} == {report.discriminator}
    assert all(0 < row["d"] < 1 for row in judged) and {row["fold"] for row in judged} == {0, 1}
    assert report.mean_weight == pytest.approx(np.clip([row["d"] for row in judged], 0.1, 0.9).mean(), abs=1e-6)
    assert report.audit is not None and report.rows["machine"] == len(judged) > 6 and report.skipped == 0
    assert report.thinned == {
        "discriminator.human": (report.rows["human"], 6),
        "discriminator.machine": (report.rows["machine"], 6),
    }


def test_a_row_that_stage_one_learned_from_is_judged_by_the_fold_that_did_not(config, monkeypatch):
    seen = []
    judge = "ivm_model.train.training.run_stage_one"
    from ivm_model.discriminator.stage_one import run_stage_one

    monkeypatch.setattr(judge, lambda *given, **more: seen.append(run_stage_one(*given, **more)) or seen[0])
    train_dwsl(config)
    scores = seen[0]
    index = index_rows(config.data, config.rows).of("human", "machine")
    model = MaskingModel(config.model)
    index_N, rows = stage_one_rows(Feed(model, index, config.feed, 0), config.discriminator)
    assert index.words("sample_id")[index_N].tolist() == [row.sample_id for row in rows]
    machine = [row for row in rows if row.origin == "machine"]
    judged = {row["sample_id"]: row for each in written(config).values() for row in each}
    folds = scores.fold_M[scores.views.where("machine")]
    for row, d, fold in zip(machine, scores.of("machine"), folds, strict=True):
        assert judged[row.sample_id]["fold"] == fold
        assert judged[row.sample_id]["d"] == d


@pytest.mark.parametrize(
    ("stage", "done", "parts"), [("discriminator 2/2", 1, 0), ("score", 1, 1), ("score", 16, 3), ("generator", 4, 3)]
)
def test_wherever_stage_one_ends_it_goes_on_exactly(config, whole, stage, done, parts):
    with pytest.raises(Killed):
        train_dwsl(config, kill_at(stage, done))
    kept = {path: path.stat().st_mtime_ns for path in (config.data / "weights").rglob("*.parquet")}
    assert len(kept) == parts
    unbroken, expected = whole
    report = train_dwsl(config)
    assert report.loss == expected.loss and report.mean_weight == expected.mean_weight
    assert read_config(config.out)["weights"] == read_config(unbroken.out)["weights"]
    assert written(config) == written(unbroken)
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())


def test_without_a_warm_up_stage_one_comes_first_and_a_kill_loses_nothing(config, bases, shards, tmp_path):
    generator = GeneratorConfig(steps=2, batch=4, warmup=0.0)
    config = dataclasses.replace(config, generator=generator)
    unbroken = dataclasses.replace(make_config(bases, shards, tmp_path / "whole"), generator=generator)
    train_dwsl(unbroken)
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("score", 1))
    train_dwsl(config)
    assert read_config(config.out)["weights"] == read_config(unbroken.out)["weights"]


def test_stage_one_and_scoring_use_the_embeddings_that_the_warm_up_kept(config, tmp_path, monkeypatch):
    made, embed = [], MaskingModel.embed
    monkeypatch.setattr(MaskingModel, "embed", lambda self, images: made.append(len(images)) or embed(self, images))
    train_dwsl(dataclasses.replace(config, rows=RowsConfig(test_share=0.0), embeddings=str(tmp_path / "kept")))
    assert sum(made) == len(list((tmp_path / "kept").rglob("*.npy"))) >= 26


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_share_the_parts_that_they_score(config, whole, start, tmp_path, shard):
    half = dataclasses.replace(config.generator, batch=config.generator.batch // 2)
    lora = LoraSettings(dropout=0.0)
    config = dataclasses.replace(config, lora=lora, generator=half, run=RunConfig(shard=shard))
    launched = start(config, processes=2)
    assert launched.communicate(timeout=200) and launched.returncode == 0
    rows = [row for each in written(config).values() for row in each]
    assert {row["sample_id"] for row in rows} == {
        row["sample_id"] for each in written(whole[0]).values() for row in each
    }
    alone = dataclasses.replace(
        config, generator=whole[0].generator, run=RunConfig(), out=config.out.with_name("alone")
    )
    shutil.rmtree(config.data / "weights")
    losses = json.loads((config.out / "losses.json").read_text())
    np.testing.assert_allclose(losses, train_dwsl(alone).loss, rtol=1e-4)


def damage(config: TrainConfig, part: int) -> str:
    """Tear the image of a part's last machine row; returns its sample id."""
    path = layout.heavy_path(DataSet.open(config.data).files("light")[part])
    table, index = pq.read_table(path), index_rows(config.data, config.rows)
    mine = [k for k in index.machine if index.shard_K[k] == part]
    rows = table.to_pylist()
    rows[index.row_K[mine[-1]]]["image"] = b"\x00\x01"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path, row_group_size=64)
    return index.words("sample_id")[mine[-1]]


def test_a_row_that_cannot_be_judged_is_counted_and_weighs_nothing(config):
    bad = damage(config, 1)
    report = train_dwsl(config)
    judged = {row["sample_id"] for rows in written(config).values() for row in rows}
    assert report.skipped == 1 and bad not in judged and len(judged) == report.rows["machine"] - 1


def test_weights_that_were_damaged_are_named(config):
    with pytest.raises(Killed):
        train_dwsl(config, kill_at("score", 1))
    (path,) = (config.data / "weights").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ShardError, match=path.name):
        train_dwsl(config)


def test_nnpu_weighs_by_what_was_written(config):
    settings = dataclasses.replace(config.discriminator, loss="nnpu")
    report = train_dwsl(dataclasses.replace(config, weighting="nnpu", discriminator=settings))
    judged = [row["d"] for rows in written(config).values() for row in rows]
    assert report.mean_weight == pytest.approx(np.mean(judged)) and np.isfinite(report.loss).all()


def test_without_human_rows_the_training_says_so_before_it_warms_up(config, labels):
    shutil.rmtree(config.data)
    machine = tuple(label for label in labels if label.sample.held_out)
    commit_part(config.data, PartResult("part-0", "recipe", machine))
    with pytest.raises(ConfigError, match="there is no human one to train on"):
        train_dwsl(config, kill_at("generator", 1))
