import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from ivm_data.recipes.training_recipes import train_config
from ivm_model.data.features import encode_rows
from ivm_model.discriminator.network import paper_config
from ivm_model.discriminator.stage_one import prepare_views, run_stage_one
from ivm_model.model import paper
from ivm_model.model.checkpoint import CONFIG, DISCRIMINATORS, load_checkpoint
from ivm_model.train.trainer import train_dwsl
from storage.errors import ConfigError


@pytest.fixture(scope="module")
def table():
    return paper.parameter_table()


def test_the_trained_parameters_of_the_paper_are_counted_part_by_part(table):
    assert table["LoRA"] == 32 * 2 * (8 * 4096 + 4096 * 8)
    assert table["projection"] == (4096 * 2048 + 2048) + (2048 * 256 + 256)
    parts = ("LoRA", "projection", "two-way transformer", "upscaling", "hypernetwork", "mask token")
    assert table["trained"] == sum(table[part] for part in parts) == 16_614_784


def test_the_64_million_of_the_release_are_the_megabytes_of_its_file(table):
    frequencies = 2 * 128
    size = table["trained, bytes in float32"] + 4 * frequencies
    assert size / 2**20 == pytest.approx(63.4, abs=0.05)
    assert 0 < 66.5e6 - size < 0.1e6  # the published file has 66.5 MB; names and headers are the rest


def test_the_frozen_models_have_their_published_sizes(table):
    assert table["frozen"] == pytest.approx(7.063e9 + 0.637e9, rel=1e-3)


def test_the_count_is_printed(capsys):
    paper.main()
    assert "   16,614,784  trained\n" in capsys.readouterr().out


def test_the_papers_recipe_trains_and_its_checkpoint_loads(data, bases, tmp_path):
    small = {"sam": bases.sam, "lmm": bases.lmm, "generator.steps": 2, "generator.batch": 4, "discriminator.steps": 2}
    config = train_config(data, tmp_path / "model", small, recipe="paper")
    report = train_dwsl(config)
    model = load_checkpoint(tmp_path / "model")
    assert model.config == config.model
    assert report.parameters == model.parameter_report()
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{report.parameters['trained']:,} / " in card and "share of humans" in card
    facts = json.loads((tmp_path / "model" / CONFIG).read_text())["training"]
    assert 0 <= facts["audit"]["calibration_error"] <= 1
    assert sum(each["mass"] for each in facts["reliability"]) == pytest.approx(1)
    state = load_file(tmp_path / "model" / DISCRIMINATORS)
    for fold in (0, 1):
        lora = [
            value for name, value in state.items() if name.startswith(f"discriminator_{fold}.") and "lora_B" in name
        ]
        assert lora and all(value.any() for value in lora)


def test_the_papers_discriminator_reads_white_outside_the_mask_with_the_papers_words(model, rows):
    config = replace(paper_config(), steps=1, batch=8)
    assert (config.dim, config.loss, config.wrong_per_row, config.agreement) == (1.0, "bce", 0, False)
    texts = []
    features = encode_rows(model, rows.train)
    read = model.lmm.read
    model.lmm.read = lambda given, *rest: texts.extend(given) or read(given, *rest)
    run_stage_one(model, features, prepare_views(model, rows.train, config, seed=0), config, seed=0)
    assert all(text.endswith(" \n Can you follow instruction above based on the given image?") for text in texts)


def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    with pytest.raises(ConfigError, match="embedded, paper, modern"):
        train_config(tmp_path, tmp_path, recipe="papers")
