"""IVM's release, its arithmetic written down from segment-anything's own modules, timm, peft and a tiny LLaVA."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from PIL import Image
from segment_anything.modeling import ImageEncoderViT, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from timm.layers import Mlp
from torch import nn
from torch.nn import functional
from torchvision.transforms.functional import normalize, to_tensor
from transformers import AutoProcessor, LlavaForConditionalGeneration, SamModel

from ivm_model.model import paper
from ivm_model.model.checkpoint import load_checkpoint, save_checkpoint
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from ivm_model.model.official import _official_name, convert, load_official
from ivm_model.model.released_bases import kept_shapes
from ivm_model.predictor import Predictor
from storage.errors import ConfigError, IvmWarning, WeightsError

SIDE, CHANNELS = 64, 32
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, size, np.uint8) for size in ((48, 96, 3), (64, 64, 3))]
WORDS = ["Find the red square .", "ok"]


class Release(nn.Module):
    """The inference path of the release with its module names, at the sizes of the tiny base models."""

    def __init__(self, bases) -> None:
        super().__init__()
        self.image_encoder = _image_encoder(bases.sam)
        self.processor = AutoProcessor.from_pretrained(bases.lmm)
        llava = LlavaForConditionalGeneration.from_pretrained(bases.lmm)
        targets = r".*language_model.*\.(q_proj|v_proj)"
        lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=targets)
        self.prompt_encoder = nn.ModuleDict(
            {"model": peft.get_peft_model(llava, lora), "text_proj": Mlp(CHANNELS, 2048, CHANNELS)}
        )
        self.mask_decoder = nn.ModuleDict(
            {
                "transformer": TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=64, num_heads=2),
                "pe_layer": PositionEmbeddingRandom(CHANNELS // 2),
                "mask_tokens": nn.Embedding(1, CHANNELS),
                "output_upscaling": nn.Sequential(
                    nn.ConvTranspose2d(CHANNELS, CHANNELS // 4, 2, 2),
                    LayerNorm2d(CHANNELS // 4),
                    nn.GELU(),
                    nn.ConvTranspose2d(CHANNELS // 4, CHANNELS // 8, 2, 2),
                    nn.GELU(),
                ),
                "output_hypernetworks_mlps": MLP(CHANNELS, CHANNELS, CHANNELS // 8, 3),
            }
        )
        for name, value in self.named_parameters():
            if ".lora_" in name:
                nn.init.normal_(value, std=0.3)

    def forward(self, images: list[np.ndarray], instructions: list[str]) -> torch.Tensor:
        squares = [Image.fromarray(image).resize((SIDE, SIDE)) for image in images]
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        embedding_BCHW = self.image_encoder(torch.stack([normalize(to_tensor(x), mean, std) for x in squares]))
        prompts = [f"USER: <image>\n{text} \n ASSISTANT:" for text in instructions]
        inputs = self.processor(text=prompts, images=squares, return_tensors="pt", padding=True)
        states = self.prompt_encoder["model"](**inputs, output_hidden_states=True).hidden_states[-1]
        condition_B1C = self.prompt_encoder["text_proj"](states[:, -2:-1])
        decoder, batch = self.mask_decoder, len(images)
        tokens_B2C = torch.cat([decoder["mask_tokens"].weight.expand(batch, 1, -1), condition_B1C], 1)
        position_1CHW = decoder["pe_layer"](embedding_BCHW.shape[2:])[None]
        tokens_B2C, pixels_BTC = decoder["transformer"](embedding_BCHW, position_1CHW, tokens_B2C)
        maps_BCHW = decoder["output_upscaling"](pixels_BTC.transpose(1, 2).view_as(embedding_BCHW))
        kernel_B1C = decoder["output_hypernetworks_mlps"](tokens_B2C[:, :1])
        low_B1HW = (kernel_B1C @ maps_BCHW.flatten(2)).unflatten(2, maps_BCHW.shape[2:])
        return functional.interpolate(low_B1HW, (SIDE, SIDE), mode="bilinear", align_corners=False)

    def trained(self) -> dict[str, torch.Tensor]:
        """What the released file holds, under the names that the transformers of its time gave."""
        kept = {n: v for n, v in self.state_dict().items() if ".lora_" in n or n.startswith("mask_decoder.")}
        kept |= {n: v for n, v in self.state_dict().items() if "text_proj" in n}
        return {name.replace("model.model.language_model", "model.language_model.model"): v for name, v in kept.items()}


def _image_encoder(directory: str) -> ImageEncoderViT:
    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        out_chans=CHANNELS,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
    )
    names = {"patch_embed.projection": "patch_embed.proj", "neck.conv1": "neck.0", "neck.layer_norm1": "neck.1"}
    names |= {"neck.conv2": "neck.2", "neck.layer_norm2": "neck.3", "layers.": "blocks.", ".layer_norm": ".norm"}
    state = {}
    for name, value in SamModel.from_pretrained(directory).vision_encoder.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = value
    encoder.load_state_dict(state)
    return encoder


@pytest.fixture(scope="module")
def release(bases) -> Release:
    torch.manual_seed(1)
    return Release(bases).eval()


@pytest.fixture
def config(bases) -> ModelConfig:
    return paper.model_config(bases.sam, bases.lmm)


@pytest.fixture
def write(tmp_path):
    def run(tensors) -> Path:
        torch.save(tensors, tmp_path / "IVM-V1.0.bin")
        return tmp_path / "IVM-V1.0.bin"

    return run


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


def test_names_of_newer_transformers_are_understood_too(release, config, write):
    newer = {
        n.replace("model.language_model.model", "model.model.language_model"): v for n, v in release.trained().items()
    }
    assert newer.keys() != release.trained().keys()
    load_official(write(newer), config)


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


def test_the_file_is_compared_with_the_published_sizes_without_the_weights_of_base_models(release, write, tmp_path):
    paper.sam_config().save_pretrained(tmp_path / "sam")
    paper.lmm_config().save_pretrained(tmp_path / "llava")
    config = paper.model_config(str(tmp_path / "sam"), str(tmp_path / "llava"))
    with pytest.raises(WeightsError, match=r"120 missing: .*of another shape: .*not \("):
        load_official(write(release.trained()), config)
    shapes = kept_shapes(config)
    assert sum(shape.numel() for shape in shapes.values()) == 16_614_784 + 256


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
