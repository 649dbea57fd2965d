"""The release's weights in our model give the release's logits, and are converted to our own checkpoint."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from released_model import CHANNELS, IMAGES, WORDS
from torch import nn
from torch.nn import functional

from ivm_model.model import paper
from ivm_model.model.checkpoint import load_checkpoint, save_checkpoint
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import MaskingModel
from ivm_model.model.official import _official_name, convert, load_official
from ivm_model.model.released_bases import kept_shapes
from ivm_model.predictor import Predictor
from storage.errors import ConfigError, WeightsError


@torch.no_grad()
def test_the_releases_weights_give_the_releases_logits(release, config, write):
    model = load_official(write(release.trained()), config)
    logits_BHW = model(model.encode(IMAGES), WORDS)
    expected_B1HW = release(IMAGES, WORDS)
    assert expected_B1HW.std() > 0.01
    torch.testing.assert_close(logits_BHW, expected_B1HW[:, 0], atol=1e-4, rtol=1e-4)
    size = IMAGES[0].shape[:2]
    expected_HW = functional.interpolate(expected_B1HW[:1], size, mode="bilinear", align_corners=False)[0, 0].sigmoid()
    np.testing.assert_allclose(model.heatmaps(IMAGES, WORDS)[0], expected_HW.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"decoder": replace(paper.DECODER, state="last")},
        {"decoder": replace(paper.DECODER, fits=1)},
        {"lora": LoraSettings(alpha=8)},
        {"inputs": InputConfig()},
    ],
)
def test_a_model_that_is_not_the_papers_is_refused(release, config, write, change):
    with pytest.raises(ConfigError, match=r"paper\.model_config"):
        load_official(write(release.trained()), replace(config, **change))


def _last_state(model):
    model.decoder.config = replace(paper.DECODER, state="last")


def _dense_prompt(model):
    model.decoder.config = replace(paper.DECODER, dense=True)
    torch.manual_seed(0)
    model.decoder.project_dense = nn.Linear(CHANNELS, CHANNELS)


def _other_frequencies(model):
    model.decoder.decoder.frequencies_2F.normal_()


def _chat_template(model):
    model.lmm.prompt = ""


def _padding(model):
    model.config = replace(model.config, inputs=replace(paper.INPUTS, frame="pad"))


@torch.no_grad()
@pytest.mark.parametrize("damage", [_last_state, _dense_prompt, _other_frequencies, _chat_template, _padding])
def test_everything_that_the_release_does_in_its_own_way_changes_its_logits(release, config, write, damage):
    model = load_official(write(release.trained()), config)
    damage(model)
    assert (model(model.encode(IMAGES), WORDS) - release(IMAGES, WORDS)[:, 0]).abs().max() > 1e-3


def test_every_name_of_ours_has_one_of_theirs(release, config):
    kept = MaskingModel(config).kept_tensors()
    assert kept_shapes(config) == {name: value.shape for name, value in kept.items()}
    names = {_official_name(name) for name in kept}
    assert names == set(release.trained()) and len(names) == len(kept)


@torch.no_grad()
def test_the_loaded_model_is_kept_whole_in_our_own_checkpoint(release, config, write, tmp_path):
    model = load_official(write(release.trained()), config)
    again = load_checkpoint(save_checkpoint(tmp_path / "ours", model, {}, "card"))
    assert again.config == model.config
    torch.testing.assert_close(again(again.encode(IMAGES), WORDS), model(model.encode(IMAGES), WORDS))


@pytest.mark.parametrize("role", ["sam", "lmm"])
def test_a_base_model_that_is_missing_or_of_another_kind_is_named_with_the_way_to_get_it(
    release, config, bases, write, role
):
    file, other = write(release.trained()), {"sam": bases.lmm, "lmm": bases.sam}[role]
    for path, told in (("no/where/at-all", "no checkpoint directory"), (other, "is needed here")):
        with pytest.raises(WeightsError, match=f"{told}.*hf download .*--set {role}=DIR"):
            load_official(file, replace(config, **{role: path}))


def test_any_sam_has_the_right_width_so_the_release_itself_asks_for_vit_h(release, bases, write, tmp_path):
    paper.lmm_config().save_pretrained(tmp_path / "llava")
    with pytest.raises(WeightsError, match="width 32, the release was trained on ViT-H of width 1280"):
        load_official(write(release.trained()), paper.model_config(bases.sam, str(tmp_path / "llava")))


@torch.no_grad()
def test_a_converted_folder_answers_as_the_file_does(release, config, write, tmp_path):
    file = write(release.trained())
    folder = convert(file, tmp_path / "ours", config)
    expected = Predictor.from_pretrained(file, config.sam, config.lmm).heatmaps(IMAGES, WORDS)
    for given, wanted in zip(Predictor.from_pretrained(folder).heatmaps(IMAGES, WORDS), expected, strict=True):
        np.testing.assert_array_equal(given, wanted)
    assert expected[0].std() > 1e-3


def test_half_precision_in_the_file_is_kept_in_float32(release, config, write, tmp_path):
    half = {name: value.half() for name, value in release.trained().items()}
    kept = load_checkpoint(convert(write(half), tmp_path / "ours", config)).kept_tensors()
    for name, value in kept.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, half[_official_name(name)].float(), rtol=0, atol=0)


def test_paths_of_base_models_are_written_down_so_that_they_are_found_from_anywhere(
    release, bases, write, tmp_path, monkeypatch
):
    monkeypatch.chdir(Path(bases.sam).parent)
    folder = convert(write(release.trained()), tmp_path / "ours", paper.model_config("sam", "lmm"))
    monkeypatch.chdir(tmp_path)
    Predictor.from_pretrained(folder)


@pytest.mark.parametrize("lost", ["model.safetensors", "model-00002-of-00002.safetensors"])
def test_a_base_model_without_its_weights_is_not_converted_to(release, bases, write, tmp_path, lost):
    base = shutil.copytree(bases.lmm, tmp_path / "lmm")
    if "of" in lost:
        index = {"metadata": {}, "weight_map": {"lm_head.weight": lost}}
        (base / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        (base / lost).unlink()
    with pytest.raises(WeightsError, match=f"lacks its weights, first '{lost}'"):
        convert(write(release.trained()), tmp_path / "ours", paper.model_config(bases.sam, str(base)))
    assert not (tmp_path / "ours").exists()
