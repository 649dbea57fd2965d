import numpy as np
import pytest
import torch

from ivm_model.model.inputs import InputConfig, fit
from ivm_model.model.lmm import Lmm, LoraSettings
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from ivm_model.predictor import Predictor
from storage.errors import ConfigError

IMAGE_HWC = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(10, 2000), (2000, 10), (1, 300), (1, 1), (4, 600)])
def test_an_image_of_any_shape_gets_a_heatmap_of_its_size(model, height, width):
    masked = Predictor(model).mask(_image(height, width), "Find the red square .")
    assert masked.image_HWC.shape == (height, width, 3)
    (heatmap_HW,) = model.heatmaps([_image(height, width)], ["ok"])
    assert heatmap_HW.shape == (height, width) and np.isfinite(heatmap_HW).all()


@pytest.mark.parametrize(
    ("size", "touched"), [((64, 64), False), ((1, 128), False), ((1, 129), True), ((129, 1), True)]
)
def test_padding_touches_only_images_that_would_lose_their_shorter_side(size, touched):
    image_HWC = _image(*size)
    fitted_HWC = fit(image_HWC, 64, "pad")
    assert (fitted_HWC is not image_HWC) == touched
    assert min(fitted_HWC.shape[:2]) >= 1


def test_a_stretched_image_fills_the_square_and_comes_back_in_its_size(bases):
    model = MaskingModel(ModelConfig(bases.sam, bases.lmm, inputs=InputConfig(frame="stretch"))).eval()
    encoded = model.encode([IMAGE_HWC])
    assert encoded.placements[0].resized_hw == (64, 64) and encoded.placements[0].original_hw == (48, 96)
    assert model.heatmaps([IMAGE_HWC], ["ok"])[0].shape == (48, 96)


def test_a_prompt_of_ones_own_replaces_the_chat_template(bases):
    template, own = (Lmm(bases.lmm, inputs=InputConfig(prompt=p)) for p in ("", "{image} {text} ANSWER"))
    vision_BTC = own.see([IMAGE_HWC])
    read = [lmm.read(["Find the red square ."], vision_BTC, None) for lmm in (template, own)]
    # The template of this tokenizer begins with <s>; the tokenizer itself adds none.
    assert int(read[0].last_B) == int(read[1].last_B) + 1


def test_an_instruction_that_spells_the_image_token_does_not_stand_for_an_image(bases):
    lmm = Lmm(bases.lmm)
    vision_BTC = lmm.see([IMAGE_HWC])
    torch.testing.assert_close(
        lmm.read(["Find <image> the ok"], vision_BTC, None).last, lmm.read(["Find the ok"], vision_BTC, None).last
    )


def test_a_half_precision_lmm_keeps_its_lora_and_its_answers_in_float32(bases):
    config = ModelConfig(bases.sam, bases.lmm, LoraSettings(), inputs=InputConfig(dtype="bfloat16"))
    model, exact = MaskingModel(config).eval(), MaskingModel(ModelConfig(bases.sam, bases.lmm)).eval()
    assert {value.dtype for value in model.trained_parameters().values()} == {torch.float32}
    encoded = model.encode([IMAGE_HWC])
    assert encoded.vision_BTC.dtype == model(encoded, ["ok"]).dtype == torch.float32
    torch.testing.assert_close(encoded.vision_BTC, exact.encode([IMAGE_HWC]).vision_BTC, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    "wrong", [{"frame": "crop"}, {"prompt": "{image}"}, {"prompt": "{text} {image} {image}"}, {"dtype": "int8"}]
)
def test_an_input_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        InputConfig(**wrong)
