"""IVM's release, its arithmetic written down from segment-anything's own modules, timm, peft and a tiny LLaVA."""

import re
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
from ivm_model.model.official import load_official, official_names
from storage.errors import ConfigError, WeightsError

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
    names = official_names(MaskingModel(config))
    assert set(names.values()) == set(release.trained()) and len(set(names.values())) == len(names)


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
    with pytest.raises(WeightsError, match=r"path of IVM-V1\.0\.bin"):
        load_official(tmp_path / "nowhere.bin", config)
    torn = write({"weight": torch.zeros(1000)})
    torn.write_bytes(torn.read_bytes()[:500])
    with pytest.raises(WeightsError):
        load_official(torn, config)
