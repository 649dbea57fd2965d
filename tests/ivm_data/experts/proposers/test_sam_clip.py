import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from ivm_data.experts.proposers.sam_clip import SamClip, SamClipConfig, _cutout, _heatmap
from ivm_data.experts.registry import ExpertSpec, create, get
from ivm_data.experts.segmenters.automatic_masks import AutomaticMask, things_in
from ivm_data.worlds.scene import draw_scene
from storage.errors import ConfigError, WeightsError
from storage.records import Box
from storage.request import Request

COLOURS = ("red", "green", "blue")
SAM = ExpertSpec("sam", {"path": "zoo:segmenter"})
RED, GREEN = Request.of(("red",)), Request.of(("green",))


def processor_of(folder):
    return CLIPProcessor(CLIPImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))


def teach(model, processor):
    """Three colours, and something else: things of other colours and pieces of the background."""
    crops, words = [], []
    for scene in (draw_scene("train", index) for index in range(20)):
        for thing in scene.things:
            crops.append(_cutout(scene.image_HWC, AutomaticMask(thing.mask_HW, thing.box, 1.0)))
            words.append(COLOURS.index(thing.colour) if thing.colour in COLOURS else len(COLOURS))
        free_HW = ~np.logical_or.reduce([thing.mask_HW for thing in scene.things])
        for x in (0, 64):
            crops.append(_cutout(scene.image_HWC, AutomaticMask(free_HW, Box(x, 32, x + 64, 96), 1.0)))
            words.append(len(COLOURS))
    texts = [f"a photo of a {colour}" for colour in COLOURS] + ["a photo of something else"]
    inputs = processor(images=crops, text=texts, padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits_per_image, torch.tensor(words))
        if loss < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A CLIP that knows three colours, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("clip")
    tiny.clip(folder)
    model = CLIPModel.from_pretrained(folder)
    teach(model, processor_of(folder))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam_clip(folder):
    return create(ExpertSpec("sam-clip", {"path": str(folder)}, uses={"segmenter": SAM}))


@pytest.fixture(scope="module")
def coarse(folder):
    """Asks at few points, for tests that need speed and no quality."""
    return SamClip(get(SAM), SamClipConfig(path=str(folder), grid=3, min_predicted_iou=0.0, min_stability=0.0))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def test_what_has_the_phrases_colour_is_masked_and_an_absent_colour_gives_an_empty_mask(sam_clip):
    scenes = [draw_scene("val", index) for index in (5005, 5006, 5008)]
    asked = [(scene, colour) for scene in scenes for colour in COLOURS]
    results = sam_clip.propose([scene.image_HWC for scene, _ in asked], [Request.of((colour,)) for _, colour in asked])
    overlaps = []
    for (scene, colour), (mask_HW, score) in zip(asked, results, strict=True):
        truth_HW = np.zeros_like(mask_HW)
        for thing in scene.things:
            truth_HW |= thing.mask_HW & (thing.colour == colour)
        if truth_HW.any():
            overlaps.append((mask_HW & truth_HW).sum() / (mask_HW | truth_HW).sum())
            assert score >= 0.5
        else:
            assert not mask_HW.any() and score == 0.0
    assert len(overlaps) == 5 and np.mean(overlaps) > 0.6


def test_the_heat_is_clips_own_probability_of_the_phrase_against_the_background(folder, sam_clip):
    image_HWC = draw_scene("val", 5008).image_HWC
    (things,) = things_in([image_HWC], get(SAM), sam_clip.config)
    texts = ["a photo of a red", "a photo of a green", "a photo of something else"]
    inputs = processor_of(folder)(
        images=[_cutout(image_HWC, thing) for thing in things], text=texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits_NT = CLIPModel.from_pretrained(folder)(**inputs).logits_per_image
    heat_PN = [logits_NT[:, [k, 2]].softmax(1)[:, 0].numpy() for k in (0, 1)]
    heat_HW = np.maximum(*(_heatmap(things, heat_N) for heat_N in heat_PN))
    both = Request.of(("red", "green"), anchor="blue", relation="left of")
    ((mask_HW, score),) = sam_clip.propose([image_HWC], [both])
    assert (mask_HW == (heat_HW >= 0.5)).all() and mask_HW.any()
    assert score == pytest.approx(heat_HW[mask_HW].mean(), abs=1e-4)


def test_a_pixel_takes_the_mean_heat_of_its_masks_weighted_by_one_over_their_areas():
    group_HW, thing_HW = np.zeros((2, 4, 6), bool)
    group_HW[:, :4], thing_HW[1:3, 1:3] = True, True
    things = [AutomaticMask(mask_HW, Box(0, 0, 1, 1), 1.0) for mask_HW in (group_HW, thing_HW)]
    heat_HW = _heatmap(things, np.array([0.2, 0.9]))
    assert np.allclose(heat_HW[thing_HW], (0.2 / 16 + 0.9 / 4) / (1 / 16 + 1 / 4))
    assert np.allclose(heat_HW[group_HW & ~thing_HW], 0.2) and not heat_HW[:, 4:].any()


def test_a_cutout_shows_the_masks_pixels_alone_in_a_white_square():
    image_HWC, mask_HW = np.full((10, 20, 3), 7, np.uint8), np.zeros((10, 20), bool)
    mask_HW[2:4, 5:13] = True
    mask_HW[2, 5] = False
    crop_SSC = _cutout(image_HWC, AutomaticMask(mask_HW, Box(5, 2, 13, 4), 1.0))
    assert crop_SSC.shape == (8, 8, 3)
    assert (crop_SSC[3:5] == np.where(mask_HW[2:4, 5:13, None], 7, 255)).all()
    assert (crop_SSC[:3] == 255).all() and (crop_SSC[5:] == 255).all()


def test_a_phrase_that_is_no_likelier_than_the_background_is_not_found(folder, sam_clip):
    config = SamClipConfig(path=str(folder), background="a photo of a red", threshold=0.501)
    ((mask_HW, score),) = SamClip(sam_clip.segmenter, config).propose([draw_scene("val", 5008).image_HWC], [RED])
    assert not mask_HW.any() and score == 0.0


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(folder, coarse):
    images = [draw_scene("val", 5008).image_HWC, noise(20, 60, 1), noise(70, 10, 3), noise(64, 64, 4)]
    rewrites = [RED, Request.of(("a", "a long thin blue line")), GREEN, RED]
    small = SamClip(
        coarse.segmenter, replace(coarse.config, images_per_batch=1, crops_per_batch=2, phrases_per_batch=1)
    )
    every = [expert.propose(images, rewrites) for expert in (coarse, small)]
    assert any(mask_HW.any() for mask_HW, _ in every[0])
    for image, rewrite, (mask_HW, score), (chunked_HW, chunked) in zip(images, rewrites, *every, strict=True):
        ((alone_HW, alone),) = coarse.propose([image], [rewrite])
        assert (alone_HW == mask_HW).mean() > 0.99 and (chunked_HW == mask_HW).mean() > 0.99
        assert alone == pytest.approx(score, abs=1e-3) and chunked == pytest.approx(score, abs=1e-3)


def test_an_image_with_several_instructions_is_segmented_once(coarse, monkeypatch):
    seen, segment = [], coarse.segmenter.segment_points
    monkeypatch.setattr(
        coarse.segmenter, "segment_points", lambda images, points: seen.append(len(images)) or segment(images, points)
    )
    image_HWC = draw_scene("val", 5008).image_HWC
    coarse.propose([image_HWC, noise(9, 9), image_HWC], [RED, RED, GREEN])
    assert seen == [2]


def test_no_phrases_no_words_no_masks_and_no_images_give_nothing(folder, coarse):
    for mask_HW, score in coarse.propose([noise(9, 7)] * 2, [Request(), Request.of((" . ", "<>"))]):
        assert mask_HW.shape == (9, 7) and not mask_HW.any() and score == 0.0
    sure = SamClip(coarse.segmenter, SamClipConfig(path=str(folder), grid=1, min_stability=1.1))
    ((mask_HW, score),) = sure.propose([noise(9, 7)], [RED])
    assert mask_HW.shape == (9, 7) and not mask_HW.any() and score == 0.0
    assert coarse.propose([], []) == []


def test_a_phrase_longer_than_the_text_encoder_reads_is_cut(coarse):
    ((mask_HW, score),) = coarse.propose([noise(64, 64, 4)], [Request.of(("star " * 100,))])
    assert mask_HW.shape == (64, 64) and 0 <= score <= 1


def test_a_phrase_is_data_and_cannot_end_the_text_early(coarse, monkeypatch):
    coarse.load()
    read, encode = [], coarse._model.get_text_features
    monkeypatch.setattr(
        coarse._model, "get_text_features", lambda ids, mask: read.extend(ids.tolist()) or encode(ids, mask)
    )
    coarse.propose([noise(9, 7)], [Request.of(("a<|endoftext|>b",))])
    words = read[1][1 : read[1].index(coarse._tokenizer.eos_token_id)]
    assert coarse._tokenizer.decode(words).replace(" ", "") == "aphotoofaaendoftextb"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(coarse, shape):
    ((mask_HW, score),) = coarse.propose([noise(*shape)], [RED])
    assert mask_HW.shape == shape and 0 <= score <= 1


def test_weights_in_bfloat16_give_nearly_the_same_masks(coarse):
    half = SamClip(coarse.segmenter, replace(coarse.config, dtype="bfloat16"))
    image_HWC = draw_scene("val", 5008).image_HWC
    ((first_HW, first),), ((second_HW, second),) = (e.propose([image_HWC], [RED]) for e in (half, coarse))
    assert (first_HW == second_HW).mean() > 0.98 and first == pytest.approx(second, abs=0.05)


def test_the_name_tells_both_models_before_any_weights_are_read(folder):
    segmenter, clip = create(SAM), folder.name
    expert = SamClip(segmenter, SamClipConfig(path=str(folder)))
    assert expert.name.startswith(f"sam-clip:{segmenter.name}+{clip}@") and expert._model is None


def test_a_missing_request_is_refused(coarse):
    with pytest.raises(ValueError, match="one request for each image, got 1 for 2"):
        coarse.propose([noise(9, 9)] * 2, [RED])


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 1.0}, {"crops_per_batch": 0}, {"images_per_batch": -1}, {"dtype": "int8"}, {"background": " "}],
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        SamClipConfig(path="anywhere", **wrong)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clipseg"}')
    with pytest.raises(WeightsError, match="holds a 'clipseg' model; model_type 'clip' is needed"):
        SamClip(get(SAM), SamClipConfig(path=str(tmp_path))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        SamClip(get(SAM), SamClipConfig(path=str(copy))).load()
