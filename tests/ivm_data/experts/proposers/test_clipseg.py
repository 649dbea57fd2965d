import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor, CLIPTokenizer
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from ivm_data.experts.proposers.clipseg import ClipSeg, ClipSegConfig
from storage.errors import ConfigError, WeightsError
from storage.request import Request

SIDE = 32
RING, STAR = Request.of(("red ring",)), Request.of(("green star",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A CLIPSeg with random weights, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("clipseg")
    tiny.clipseg(folder)
    return folder


@pytest.fixture(scope="module")
def clipseg(folder):
    return ClipSeg(ClipSegConfig(str(folder)))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def probabilities(folder, image_HWC, phrase):
    """As the library's own processor and model give them, resized to the image."""
    processor = CLIPSegProcessor(ViTImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    inputs = processor(text=[phrase], images=[image_HWC], return_tensors="pt")
    with torch.no_grad():
        logits = CLIPSegForImageSegmentation.from_pretrained(folder)(**inputs).logits.reshape(1, 1, SIDE, SIDE)
    size = image_HWC.shape[:2]
    return torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)[0, 0].sigmoid().numpy()


def test_a_mask_holds_the_pixels_that_are_hot_for_any_target_phrase(folder):
    image_HWC = noise(20, 60)
    first_HW, second_HW = (probabilities(folder, image_HWC, phrase) for phrase in ("red ring", "green star"))
    heat_HW = np.maximum(first_HW, second_HW)
    threshold = float(np.median(heat_HW))
    both = Request.of(("red ring", "green star"), anchor="blue square", relation="left of")
    ((mask_HW, score),) = ClipSeg(ClipSegConfig(str(folder), threshold=threshold)).propose([image_HWC], [both])
    assert mask_HW.shape == (20, 60) and mask_HW.dtype == bool
    assert (mask_HW != (heat_HW >= threshold)).mean() < 2e-3
    assert score == pytest.approx(heat_HW[heat_HW >= threshold].mean(), abs=1e-3)
    assert all((heat_HW >= threshold).sum() > 5 + (one_HW >= threshold).sum() for one_HW in (first_HW, second_HW))


def test_another_phrase_gives_another_mask(folder, clipseg):
    image_HWC = noise(SIDE, SIDE)
    ring_HW, star_HW = (probabilities(folder, image_HWC, phrase) for phrase in ("red ring", "green star"))
    assert np.abs(ring_HW - star_HW).max() > 0.02
    (_, ring), (_, star) = clipseg.propose([image_HWC] * 2, [RING, STAR])
    assert ring != star


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(clipseg):
    images = [noise(20, 60, 1), noise(SIDE, SIDE, 2), noise(70, 10, 3), noise(20, 60, 4)]
    rewrites = [RING, Request.of(("a", "a long thin blue line")), STAR, RING]
    for image, rewrite, (mask_HW, score) in zip(images, rewrites, clipseg.propose(images, rewrites), strict=True):
        ((alone_HW, alone),) = clipseg.propose([image], [rewrite])
        assert (alone_HW != mask_HW).mean() < 0.01 and alone == pytest.approx(score, abs=1e-4)


def test_an_image_with_several_instructions_is_encoded_once(clipseg, monkeypatch):
    clipseg.load()
    seen = []
    see = clipseg._see
    monkeypatch.setattr(clipseg, "_see", lambda images: seen.append(len(images)) or see(images))
    image_HWC = noise(SIDE, SIDE)
    results = clipseg.propose([image_HWC, noise(9, 9), image_HWC], [RING, RING, STAR])
    assert seen == [2]
    assert results[2][1] == pytest.approx(clipseg.propose([image_HWC], [STAR])[0][1], abs=1e-4)


def test_phrases_pass_in_chunks_without_a_change(folder, clipseg):
    small = ClipSeg(ClipSegConfig(str(folder), prompts_per_batch=2, images_per_batch=1))
    images, rewrites = [noise(20, 30, i) for i in range(3)], [Request.of(("red ring", "star", "big blue dot"))] * 3
    for (first_HW, first), (second_HW, second) in zip(
        small.propose(images, rewrites), clipseg.propose(images, rewrites), strict=True
    ):
        assert (first_HW != second_HW).mean() < 0.01 and first == pytest.approx(second, abs=1e-4)


def test_nothing_hot_is_not_found(folder):
    strict = ClipSeg(ClipSegConfig(str(folder), threshold=0.999))
    ((mask_HW, score),) = strict.propose([noise(12, 17)], [RING])
    assert mask_HW.shape == (12, 17) and not mask_HW.any() and score == 0.0


def test_no_phrases_no_words_and_no_images_give_nothing(clipseg):
    for mask_HW, score in clipseg.propose([noise(9, 7)] * 2, [Request(), Request.of((" . ",))]):
        assert mask_HW.shape == (9, 7) and not mask_HW.any() and score == 0.0
    assert clipseg.propose([], []) == []


def test_a_phrase_longer_than_the_text_encoder_reads_is_cut(clipseg):
    ((mask_HW, score),) = clipseg.propose([noise(9, 7)], [Request.of(("star " * 100,))])
    assert mask_HW.shape == (9, 7) and 0 <= score <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(clipseg, shape):
    ((mask_HW, score),) = clipseg.propose([noise(*shape)], [RING])
    assert mask_HW.shape == shape and 0 <= score <= 1


def test_weights_in_bfloat16_give_nearly_the_same_masks(folder, clipseg):
    half = ClipSeg(ClipSegConfig(str(folder), dtype="bfloat16"))
    ((first_HW, first),), ((second_HW, second),) = (e.propose([noise(20, 60)], [RING]) for e in (half, clipseg))
    assert (first_HW != second_HW).mean() < 0.05 and first == pytest.approx(second, abs=0.02)


def test_a_missing_request_is_refused(clipseg):
    with pytest.raises(ValueError, match="one request for each image, got 1 for 2"):
        clipseg.propose([noise(9, 9)] * 2, [RING])


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.0}, {"prompts_per_batch": 0}, {"images_per_batch": -1}, {"dtype": "int8"}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        ClipSegConfig("anywhere", **wrong)


def test_another_architecture_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(WeightsError, match="holds a 'clip' model"):
        ClipSeg(ClipSegConfig(str(tmp_path))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        ClipSeg(ClipSegConfig(str(copy))).load()
