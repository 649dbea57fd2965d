import dataclasses
import json

import pytest

from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.engine.processes import RunConfig
from ivm_model.metrics.evaluation import evaluate
from ivm_model.model.checkpoint import read_config
from ivm_model.model.lmm import LoraSettings
from ivm_model.predictor import Predictor
from ivm_model.train.generator import GeneratorConfig
from ivm_model.train.signals import weigh
from ivm_model.train.trainer import TrainConfig, train_dwsl
from storage.errors import ConfigError, IvmWarning, WeightsError


@pytest.fixture
def config(bases, data, tmp_path) -> TrainConfig:
    return TrainConfig(
        data=data,
        out=tmp_path / "model",
        sam=bases.sam,
        lmm=bases.lmm,
        rows=RowsConfig(test_share=0.3),
        discriminator=DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8),
        generator=GeneratorConfig(steps=4, batch=4),
    )


def test_a_training_leaves_a_checkpoint_that_scores_as_reported(config):
    report = train_dwsl(config)
    index = index_rows(config.data, config.rows)
    test = RowReader(index.of("test"), 1).stream({})
    assert evaluate(Predictor.from_pretrained(config.out).heatmaps, test) == report.scores
    assert report.data_hash == index.of("human", "machine").content_hash and len(report.loss) == 4
    assert report.rows == {
        "human": len(index.human),
        "machine": len(index.machine),
        "test": len(index.of("test")),
    }
    assert report.thinned == {} and report.skipped == 0
    assert 0.1 <= report.mean_weight <= 0.9
    assert read_config(config.out)["training"] == json.loads(json.dumps(report.facts()))
    card = (config.out / "README.md").read_text()
    assert report.data_hash in card and "leakage auc" in card and f"{report.scores.overall.giou:.3f}" in card


def test_stage_one_appends_a_weight_for_every_machine_row(config):
    report = train_dwsl(config)
    index = index_rows(config.data, config.rows)
    (found,) = (config.data / "weights").rglob("*.parquet")
    assert found.parent.name == report.discriminator
    import pyarrow.parquet as pq

    table = pq.read_table(found).to_pydict()
    assert table["sample_id"] == index.words("sample_id")[index.machine].tolist()
    assert all(0 < d < 1 for d in table["d"]) and set(table["fold"]) == {0, 1}


def test_the_same_config_trains_the_same_model(config, tmp_path):
    first = train_dwsl(config)
    second = train_dwsl(dataclasses.replace(config, out=tmp_path / "again"))
    assert first.loss == second.loss and first.discriminator == second.discriminator
    assert read_config(config.out)["weights"] == read_config(tmp_path / "again")["weights"]


def test_a_weighting_without_discriminator_runs_no_stage_one(config):
    report = train_dwsl(dataclasses.replace(config, weighting="uniform"))
    assert report.audit is None and report.discriminator == "" and "stage I" not in report.seconds
    assert not (config.data / "weights").exists()


def test_human_rows_always_weigh_one(config):
    index = index_rows(config.data, config.rows).of("human", "machine")
    weight_K = weigh("human_only", index)
    assert (weight_K[index.human] == 1).all() and (weight_K[index.machine] == 0).all()


def test_whatever_an_option_leaves_out_is_in_the_report_and_on_the_card(config):
    stage_one = dataclasses.replace(config.discriminator, human=4, machine=6)
    run = RunConfig(evaluate_every=2, validation_share=0.5, validation_rows=2)
    with pytest.warns(IvmWarning, match="'rows.max_rows' leaves"):
        report = train_dwsl(
            dataclasses.replace(config, rows=RowsConfig(test_share=0.3, max_rows=20), discriminator=stage_one, run=run)
        )
    assert report.thinned.keys() == {
        "rows.max_rows",
        "run.validation_rows",
        "discriminator.human",
        "discriminator.machine",
    }
    assert report.thinned["discriminator.human"] == (report.rows["human"], 4)
    card = (config.out / "README.md").read_text()
    assert all(f"left out by `{name}`" in card for name in report.thinned)


@pytest.mark.parametrize("wrong", [{"weighting": "best"}, {"seed": -1}])
def test_a_config_that_cannot_work_is_refused_before_any_work(config, wrong):
    with pytest.raises(ConfigError):
        dataclasses.replace(config, **wrong)


def test_a_training_goes_on_from_a_checkpoint_and_says_what_it_brought(config, tmp_path):
    first = train_dwsl(dataclasses.replace(config, weighting="uniform"))
    going_on = dataclasses.replace(config, weighting="uniform", start=str(config.out), out=tmp_path / "more")
    report = train_dwsl(going_on)
    assert report.start_scores == first.scores and report.scores != first.scores
    assert read_config(going_on.out)["training"]["start"] == f"model@{read_config(config.out)['weights']}"
    card = (going_on.out / "README.md").read_text()
    assert "before this training" in card and "Gain over the checkpoint" in card
    assert report.loss[0] != first.loss[0]


def test_a_checkpoint_of_other_settings_is_no_start(config, tmp_path):
    train_dwsl(dataclasses.replace(config, weighting="uniform"))
    other = dataclasses.replace(config, start=str(config.out), out=tmp_path / "other", lora=LoraSettings(rank=2))
    with pytest.raises(ConfigError, match="other settings of lora"):
        train_dwsl(other)


def test_no_checkpoint_is_no_start(config, tmp_path):
    with pytest.raises(WeightsError, match="there is no checkpoint folder"):
        train_dwsl(dataclasses.replace(config, start=str(tmp_path / "nowhere")))
