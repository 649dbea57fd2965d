"""Files that may be the release's: every form of it is read, and what is wrong with another is said."""

import re
from pathlib import Path

import pytest
import torch
from released_model import CHANNELS, IMAGES, WORDS

from ivm_model.model import paper
from ivm_model.model.official import load_official
from ivm_model.model.released_bases import kept_shapes
from ivm_model.predictor import Predictor
from storage.errors import IvmWarning, WeightsError


def test_names_of_newer_transformers_are_understood_too(release, config, write):
    newer = {
        n.replace("model.language_model.model", "model.model.language_model"): v for n, v in release.trained().items()
    }
    assert newer.keys() != release.trained().keys()
    load_official(write(newer), config)


def _without(tensors):
    del tensors["mask_decoder.mask_tokens.weight"]


def _with_extra(tensors):
    tensors["mask_decoder.iou_token.weight"] = torch.zeros(1, CHANNELS)


def _reshaped(tensors):
    tensors["prompt_encoder.text_proj.fc2.bias"] = torch.zeros(256)


def _corrupted(tensors):
    tensors["prompt_encoder.text_proj.fc2.bias"] = torch.full((CHANNELS,), torch.nan)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without, "1 missing: mask_decoder.mask_tokens.weight"),
        (_with_extra, "1 unexpected: mask_decoder.iou_token.weight"),
        (_reshaped, "1 of another shape: prompt_encoder.text_proj.fc2.bias (256,), not (32,)"),
        (_corrupted, "1 not finite: prompt_encoder.text_proj.fc2.bias"),
    ],
)
def test_tensors_that_do_not_fit_are_named(release, config, write, damage, message):
    tensors = release.trained()
    damage(tensors)
    with pytest.raises(WeightsError, match=re.escape(message)):
        load_official(write(tensors), config)


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_file_with_code_in_it_is_refused_and_the_code_never_runs(config, write, tmp_path):
    with pytest.raises(WeightsError, match="more than tensors"):
        load_official(write({"weight": _Evil(tmp_path / "ran")}), config)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_state_dict_is_said(config, write, tmp_path):
    with pytest.raises(WeightsError, match="found 'epoch'"):
        load_official(write({"epoch": 3}), config)
    with pytest.raises(WeightsError, match="found list"):
        load_official(write([torch.zeros(1)]), config)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is not there"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 66500000\n", "is a Git LFS pointer"),
        (b"\x80\x02not a pickle", "is torn|more than tensors"),
    ],
)
def test_a_download_that_is_no_checkpoint_is_said(config, tmp_path, content, told):
    if content is not None:
        (tmp_path / "IVM-V1.0.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=told) as caught:
        load_official(tmp_path / "IVM-V1.0.bin", config)
    assert "download the file" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_torn_download_is_said(release, config, write, share):
    torn = write(release.trained())
    torn.write_bytes(torn.read_bytes()[: int(torn.stat().st_size * share)])
    with pytest.raises(WeightsError, match="is torn, or no file of"):
        load_official(torn, config)


def test_the_folder_of_the_file_leads_to_the_file(release, write):
    file = write(release.trained())
    with pytest.raises(WeightsError, match=f"if you mean the release's weights, give the file '{file}'"):
        Predictor.from_pretrained(file.parent)


def test_another_models_tensors_are_said_before_a_base_is_looked_for(write):
    with pytest.raises(WeightsError, match=r"1 tensors that are none of the release's: lm_head\.weight"):
        load_official(write({"lm_head.weight": torch.zeros(2)}))


def _of_a_trainer(tensors):
    return {"model": tensors, "epoch": 3}


def _of_several_processes(tensors):
    return {f"module.{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize("wrap", [_of_a_trainer, _of_several_processes])
def test_a_state_dict_that_a_trainer_wrapped_is_read(release, config, write, wrap):
    load_official(write(wrap(release.trained())), config)


@torch.no_grad()
def test_copies_of_frozen_base_models_in_the_file_are_left_unread_and_named(release, config, write):
    with pytest.warns(IvmWarning, match=r"also holds \d+ tensors of frozen base models, .*image_encoder"):
        model = load_official(write(release.state_dict()), config)
    torch.testing.assert_close(model(model.encode(IMAGES), WORDS), release(IMAGES, WORDS)[:, 0], atol=1e-4, rtol=1e-4)


def test_the_oldest_form_of_torch_save_is_read_too(release, config, tmp_path):
    torch.save(release.trained(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    load_official(tmp_path / "old.bin", config)


def test_the_file_is_compared_with_the_published_sizes_without_the_weights_of_base_models(release, write, tmp_path):
    paper.sam_config().save_pretrained(tmp_path / "sam")
    paper.lmm_config().save_pretrained(tmp_path / "llava")
    config = paper.model_config(str(tmp_path / "sam"), str(tmp_path / "llava"))
    with pytest.raises(WeightsError, match=r"120 missing: .*of another shape: .*not \("):
        load_official(write(release.trained()), config)
    shapes = kept_shapes(config)
    assert sum(shape.numel() for shape in shapes.values()) == 16_614_784 + 256
