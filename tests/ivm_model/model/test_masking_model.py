import numpy as np
import pytest
import torch

from ivm_model.model import paper
from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from storage.errors import ConfigError

WIDE_HWC = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
SQUARE_HWC = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
WORDS = ["Find the red square .", "ok"]


def test_heatmaps_are_probabilities_of_the_images_own_sizes(model):
    wide_HW, square_HW = model.heatmaps([WIDE_HWC, SQUARE_HWC], WORDS)
    assert (wide_HW.shape, square_HW.shape) == ((48, 96), (64, 64))
    assert wide_HW.dtype == np.float32 and 0 <= wide_HW.min() <= wide_HW.max() <= 1


def test_the_same_question_has_the_same_answer_alone_and_in_a_batch(model):
    (alone_HW,) = model.heatmaps([WIDE_HWC], WORDS[:1])
    np.testing.assert_allclose(model.heatmaps([WIDE_HWC, SQUARE_HWC], WORDS)[0], alone_HW, atol=1e-4)


@pytest.mark.parametrize(
    "decoder",
    [
        DecoderConfig(),
        DecoderConfig(init="scratch", dense=False),
        DecoderConfig(prompt="text", prompts=3),
        paper.DECODER,
        DecoderConfig(trunk="ivm"),
    ],
)
def test_every_trained_parameter_gets_a_gradient_and_nothing_else_does(bases, decoder):
    model = MaskingModel(ModelConfig(bases.sam, bases.lmm, decoder=decoder)).train()
    for value in model.lmm.role_parameters("generator").values():
        torch.nn.init.normal_(value, std=0.1)
    model(model.encode([WIDE_HWC, SQUARE_HWC]), WORDS).square().sum().backward()
    trained = model.trained_parameters()
    assert all(value.grad is not None and value.grad.any() for value in trained.values())
    assert {name for name, value in model.named_parameters() if value.grad is not None} == set(trained)


def test_the_report_counts_every_parameter_once(model):
    report = model.parameter_report()
    assert report["trained"] == sum(value.numel() for value in model.trained_parameters().values())
    assert report["trained_lora"] == 2 * 2 * 2 * 8 * 32
    assert report["trained"] + report["frozen"] == sum(value.numel() for value in model.parameters())


def test_the_decoder_starts_from_sams_unless_told_otherwise(bases):
    ours = MaskingModel(ModelConfig(bases.sam, bases.lmm)).decoder.decoder.state_dict()
    again = MaskingModel(ModelConfig(bases.sam, bases.lmm)).decoder.decoder.state_dict()
    scratch = MaskingModel(ModelConfig(bases.sam, bases.lmm, decoder=DecoderConfig(init="scratch")))
    assert all(torch.equal(ours[name], again[name]) for name in ours)
    assert not torch.equal(ours["mask_tokens.weight"], scratch.decoder.decoder.mask_tokens.weight)


def test_an_ivm_trunk_starts_from_what_sams_decoder_shares_with_it(bases):
    models = [MaskingModel(ModelConfig(bases.sam, bases.lmm, decoder=DecoderConfig(trunk="ivm"))) for _ in range(2)]
    first, second = (each.decoder.decoder.state_dict() for each in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    trunk = models[0].decoder.decoder
    torch.testing.assert_close(trunk._position(8, 8)[None], models[0].decoder.position_1CHW)
    scratch = MaskingModel(ModelConfig(bases.sam, bases.lmm, decoder=DecoderConfig(trunk="ivm", init="scratch")))
    assert not torch.equal(first["frequencies_2F"], scratch.decoder.decoder.frequencies_2F)


def test_the_lmm_prompts_the_mask(model):
    red_HW, blue_HW = (model.heatmaps([SQUARE_HWC], [f"Find the {word} square ."])[0] for word in ("red", "blue"))
    assert np.abs(red_HW - blue_HW).max() > 1e-5


@pytest.mark.parametrize(
    "wrong",
    [{"init": "zero"}, {"prompt": "first"}, {"prompts": 0}, {"trunk": "unet"}, {"state": "first"}, {"width": -1}],
)
def test_a_decoder_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        DecoderConfig(**wrong)


def test_a_few_images_at_once_pass_through_sam_and_come_out_in_order(model, monkeypatch):
    images = [WIDE_HWC, SQUARE_HWC, WIDE_HWC[:, ::-1].copy()]
    whole = model.embed(images)
    sizes = []
    model.sam_encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr("ivm_model.model.masking_model.PIXELS_AT_ONCE", 2 * model.side**2)
    torch.testing.assert_close(model.embed(images), whole, atol=1e-5, rtol=1e-5)
    assert sizes == [2, 1]
