"""Qwen-VL as the LMM of a masking model: what `Lmm` makes of image and prompt is what the library makes of both."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from benchmarks import lmm_checkpoints
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import Lmm
from ivm_model.model.lmm_images import GRID
from storage.errors import ConfigError, WeightsError

PROCESSORS = Path(__file__).parents[4] / "shared" / "data" / "processors"
SHOWN = InputConfig(grid=8)
SIDE = 256
IMAGES = [np.random.default_rng(i).integers(0, 255, (SIDE, SIDE, 3), np.uint8) for i in range(2)]
TEXTS = ["Find the red square .", "ok"]


@pytest.fixture(scope="module")
def qwen3(tiny, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("qwen3")
    tiny.qwen3_vl(folder)
    return str(folder)


@pytest.fixture
def lmm(qwen3) -> Lmm:
    lmm = Lmm(qwen3, inputs=SHOWN)
    lmm.add_role("one")
    return lmm.eval()


@torch.no_grad()
def _the_librarys(lmm: Lmm, text: str, image_HWC: np.ndarray) -> torch.Tensor:
    """States of one prompt, LC, as the model's own page computes them."""
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
    prompt = lmm.processor.apply_chat_template([turn], add_generation_prompt=True)
    inputs = lmm.processor(text=prompt, images=image_HWC, return_tensors="pt", input_data_format="channels_last")
    return lmm.model.model(**inputs).last_hidden_state[0]


def _reads_as_the_library(lmm: Lmm, images: list[np.ndarray]) -> None:
    reading = lmm.read(TEXTS, lmm.see(images), None)
    assert reading.last_B[0] > reading.last_B[1]
    for row, (text, image_HWC) in enumerate(zip(TEXTS, images, strict=True)):
        expected_LC = _the_librarys(lmm, text, image_HWC)
        found_LC = reading.hidden_BLC[row, : len(expected_LC)]
        torch.testing.assert_close(found_LC, expected_LC, atol=1e-4, rtol=1e-4)
        assert reading.last_B[row] == len(expected_LC) - 1


def test_qwen3_vl_reads_as_the_library_does(lmm):
    _reads_as_the_library(lmm, IMAGES)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_with_the_published_tokenizer_a_qwen_reads_as_the_library_does(family, tmp_path):
    if not PROCESSORS.is_dir():
        pytest.skip("no published tokenizer: the checkout has no ../shared/data/processors beside it")
    getattr(lmm_checkpoints, family)(tmp_path, PROCESSORS)
    lmm = Lmm(str(tmp_path), inputs=SHOWN)
    side = 8 * 2 * lmm.processor.image_processor.patch_size
    images = [np.ascontiguousarray(np.resize(image, (side, side, 3))) for image in IMAGES]
    _reads_as_the_library(lmm, images)


def test_features_of_earlier_layers_enter_the_language_model(lmm):
    vision_BTC = lmm.see(IMAGES)
    channels = lmm.hidden_size
    assert vision_BTC.shape == (2, 64, 3 * channels) and lmm.patches(vision_BTC).shape == (2, 64, channels)
    without = torch.cat([lmm.patches(vision_BTC), torch.zeros(2, 64, 2 * channels)], 2)
    with_all, last_only = (lmm.read(TEXTS, each, None).last for each in (vision_BTC, without))
    assert (with_all - last_only).abs().max() > 1e-3


def test_patches_lie_in_rows_as_the_image_does(lmm):
    image_HWC = np.full((SIDE, SIDE, 3), 90, np.uint8)
    changed = image_HWC.copy()
    changed[:32, 128:160] = 255
    change_T = (lmm.patches(lmm.see([changed])) - lmm.patches(lmm.see([image_HWC]))).abs().sum(2)[0]
    assert change_T.argmax() == 4


def test_an_image_of_any_size_becomes_as_many_tokens(lmm, qwen3):
    images = [np.zeros((90, 30, 3), np.uint8), np.zeros((700, 900, 3), np.uint8)]
    assert lmm.see(images).shape[:2] == (2, 64)
    assert Lmm(qwen3).see(images[:1]).shape[1] == GRID**2


def test_lora_sits_on_the_language_models_chosen_layers_only(lmm):
    names = lmm.role_parameters("one")
    assert len(names) == 2 * 2 * 2
    assert all(".language_model." in name and (".q_proj." in name or ".v_proj." in name) for name in names)


def test_a_grid_is_refused_for_an_lmm_whose_processor_decides(bases):
    with pytest.raises(ConfigError, match=r"'inputs.grid' is for a Qwen-VL.*leave it 0"):
        Lmm(bases.lmm, inputs=SHOWN)


@pytest.mark.parametrize(("family", "why"), [("smolvlm", "8 x 8 tokens"), ("gemma3", "qwen2_5_vl or qwen3_vl")])
def test_a_family_that_is_not_supported_is_refused_before_its_weights_are_read(family, why, tmp_path):
    AutoConfig.for_model(family).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=f"cannot prompt the mask decoder.*{why}.*Qwen/Qwen3-VL-2B"):
        Lmm(str(tmp_path))
