"""The recipe `modern`: SAM 2.1 and Qwen3-VL, here in miniature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen3VLForConditionalGeneration, Sam2Model
from typer.testing import CliRunner

from ivm_data.cli import app
from ivm_data.experts.proposers.ivm import Ivm, IvmConfig
from ivm_data.recipes.published_weights import PUBLISHED
from ivm_data.recipes.training_recipes import train_config
from ivm_model.model import modern
from ivm_model.model.checkpoint import load_checkpoint, save_checkpoint
from ivm_model.model.masking_model import MaskingModel
from ivm_model.predictor import Predictor
from ivm_model.train.trainer import train_dwsl
from storage.request import Request

IMAGE_HWC = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
WORDS = "Find the red square ."


@pytest.fixture
def small(modern_bases) -> dict[str, object]:
    steps = {"generator.steps": 3, "generator.batch": 4, "discriminator.steps": 2, "discriminator.batch": 8}
    return {"sam": modern_bases.sam, "lmm": modern_bases.lmm, "inputs.grid": 2, **steps}


@pytest.fixture
def saved(modern_bases, tmp_path) -> tuple[MaskingModel, str]:
    """A model that is not as it began, and the checkpoint of it."""
    torch.manual_seed(0)
    config = modern.model_config(modern_bases.sam, modern_bases.lmm)
    model = MaskingModel(replace(config, inputs=replace(config.inputs, grid=2))).eval()
    with torch.no_grad():
        for value in model.trained_parameters().values():
            value += 0.05 * torch.randn_like(value)
    return model, str(save_checkpoint(tmp_path / "model", model, {}, "# Card\n"))


@pytest.mark.parametrize("weighting", ["verification_ratio", "clip_sigmoid"])
def test_the_recipe_trains_and_its_checkpoint_loads(data, small, tmp_path, weighting):
    config = train_config(data, tmp_path / "model", small | {"weighting": weighting}, recipe="modern")
    before = MaskingModel(config.model).trained_parameters()
    report = train_dwsl(config)
    model = load_checkpoint(tmp_path / "model")
    assert model.config == config.model and report.parameters == model.parameter_report()
    assert len(report.loss) == 3 and np.isfinite(report.loss).all()
    after = model.trained_parameters()
    assert all(after[name].any() for name in before if "lora_B" in name)
    assert config.weighting == weighting and (report.audit is None) == (weighting == "verification_ratio")


def test_a_loaded_model_answers_as_the_saved_one_did_and_looks_closer(saved):
    model, folder = saved
    plain, close = Predictor.from_pretrained(folder), Predictor.from_pretrained(folder, zoom=2)
    heat_HW = plain.heatmap(IMAGE_HWC, WORDS)
    np.testing.assert_array_equal(heat_HW, Predictor(model).heatmap(IMAGE_HWC, WORDS))
    assert heat_HW.shape == (150, 200) and np.ptp(heat_HW) > 0
    zoomed_HW = close.heatmap(IMAGE_HWC, WORDS)
    assert zoomed_HW.shape == heat_HW.shape and not np.array_equal(zoomed_HW, heat_HW)


def test_an_image_gets_the_same_heatmap_alone_and_beside_others(saved):
    model, _ = saved
    others = [IMAGE_HWC[:50], IMAGE_HWC, IMAGE_HWC[:, :30]]
    together = model.heatmaps(others, ["ok", WORDS, "find it"])[1]
    np.testing.assert_allclose(model.heatmaps([IMAGE_HWC], [WORDS])[0], together, atol=1e-4)


def test_it_masks_images_and_proposes_masks_as_every_checkpoint_does(saved, tmp_path):
    _, folder = saved
    Image.fromarray(IMAGE_HWC).save(tmp_path / "photo.png")
    command = ["mask", str(tmp_path / "photo.png"), WORDS, "--model", folder, "-o", str(tmp_path / "masked.png")]
    result = CliRunner().invoke(app, [*command, "--zoom", "1", "--threshold", "0.1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert Image.open(tmp_path / "masked.png").size == (200, 150)
    expert = Ivm(IvmConfig(folder))
    ((mask_HW, score),) = expert.propose([IMAGE_HWC], [Request.of(("red square",))])
    assert mask_HW.shape == (150, 200) and 0 <= score <= 1
    assert (expert.input_size.short, expert.input_size.long) == (64, 64)


def test_the_sizes_written_down_are_the_published_ones():
    with torch.device("meta"):
        lmm, sam = Qwen3VLForConditionalGeneration(modern.lmm_config()), Sam2Model(modern.sam_config())
    lmm.tie_weights()
    count = sum(value.numel() for value in lmm.parameters())
    assert count == pytest.approx(PUBLISHED[modern.LMM].millions * 1e6, rel=1e-3)
    # The published checkpoint also holds what remembers a video's frames, 7 of its 224 million.
    count = sum(value.numel() for value in sam.parameters())
    assert count == pytest.approx(PUBLISHED[modern.SAM].millions * 1e6, rel=0.05)
    assert sam.backbone_feature_sizes[-1] == [64, 64]
