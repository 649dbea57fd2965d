from pathlib import Path

import numpy as np
import pytest

import ivm_data.zoo
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.worlds.scene import draw_scene
from storage.records import Box

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights" / "segmenter"


@pytest.fixture(scope="module")
def sam():
    return Sam(SamConfig(str(WEIGHTS)))


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene("val", index) for index in range(5000, 5012)]


def iou(first_HW, second_HW):
    return (first_HW & second_HW).sum() / max(1, (first_HW | second_HW).sum())


def boxes(scene):
    return [thing.box for thing in scene.things]


def test_the_name_is_known_before_the_weights_are_read():
    expert = Sam(SamConfig(str(WEIGHTS)))
    model, revision = expert.name.split("@")
    assert model == "segmenter" and len(revision) == 8
    assert expert._model is None


def test_a_box_gives_the_mask_of_the_thing_inside(sam, scenes):
    results = sam.segment([scene.image_HWC for scene in scenes], [boxes(scene) for scene in scenes])
    overlaps = [
        iou(mask_HW, thing.mask_HW)
        for scene, result in zip(scenes, results, strict=True)
        for mask_HW, thing in zip(result.mask_NHW, scene.things, strict=True)
    ]
    assert np.mean(overlaps) > 0.8


def test_a_point_gives_the_mask_of_the_thing_under_it(sam, scenes):
    points = [np.array([np.argwhere(t.mask_HW)[t.mask_HW.sum() // 2][::-1] for t in s.things]) for s in scenes]
    results = sam.segment_points([scene.image_HWC for scene in scenes], points)
    overlaps = [
        iou(mask_HW, thing.mask_HW)
        for scene, result in zip(scenes, results, strict=True)
        for mask_HW, thing in zip(result.mask_NHW, scene.things, strict=True)
    ]
    assert np.mean(overlaps) > 0.7


def test_a_point_on_the_background_has_a_low_predicted_iou(sam, scenes):
    covered = [np.any([thing.mask_HW for thing in scene.things], axis=0) for scene in scenes]
    points = [np.argwhere(~mask_HW)[::4001, ::-1] for mask_HW in covered]
    results = sam.segment_points([scene.image_HWC for scene in scenes], points)
    assert np.median(np.concatenate([result.predicted_iou_N for result in results])) < 0.3


def test_the_embedded_model_learned_single_prompts_only(sam):
    assert not sam.joins_prompts


def test_scores_are_float32_in_the_unit_interval(sam, scenes):
    (result,) = sam.segment([scenes[0].image_HWC], [boxes(scenes[0])])
    for score_N in (result.predicted_iou_N, result.stability_N):
        assert score_N.dtype == np.float32 and score_N.shape == (len(scenes[0].things),)
        assert ((score_N >= 0) & (score_N <= 1)).all()


def test_a_batch_gives_what_single_images_give(sam, scenes):
    images, prompts = [scene.image_HWC for scene in scenes], [boxes(scene) for scene in scenes]
    together = sam.segment(images, prompts)
    for image, row, result in zip(images, prompts, together, strict=True):
        (alone,) = sam.segment([image], [row])
        assert (alone.mask_NHW != result.mask_NHW).mean() < 1e-4
        assert np.allclose(alone.predicted_iou_N, result.predicted_iou_N, atol=1e-4)


def test_an_image_without_prompts_gives_an_empty_result_among_others(sam, scenes):
    images = [scene.image_HWC for scene in scenes[:3]]
    results = sam.segment(images, [boxes(scenes[0]), [], boxes(scenes[2])])
    assert results[1].mask_NHW.shape == (0, 128, 128) and results[1].predicted_iou_N.shape == (0,)
    assert len(results[2].mask_NHW) == len(scenes[2].things)
    assert sam.segment_points(images[:1], [np.zeros((0, 2))])[0].mask_NHW.shape == (0, 128, 128)
    assert sam.segment([], []) == []


def test_many_prompts_pass_in_chunks_without_a_change(scenes):
    y, x = np.mgrid[4:128:8, 4:128:8]
    grid_N2 = np.stack([x.ravel(), y.ravel()], axis=1)
    small, large = (Sam(SamConfig(str(WEIGHTS), prompts_per_batch=size)) for size in (37, 256))
    (first,), (second,) = (sam.segment_points([scenes[0].image_HWC], [grid_N2]) for sam in (small, large))
    assert first.mask_NHW.shape == (256, 128, 128)
    assert (first.mask_NHW != second.mask_NHW).mean() < 1e-4


@pytest.mark.parametrize("extra", [0, 60], ids=["larger", "larger and wider"])
def test_masks_come_back_in_the_frame_of_the_original_image(sam, scenes, extra):
    scene, scale = scenes[0], 3
    enlarged_HWC = scene.image_HWC.repeat(scale, axis=0).repeat(scale, axis=1)
    image_HWC = np.pad(enlarged_HWC, [(0, 0), (0, extra), (0, 0)])
    (result,) = sam.segment([image_HWC], [[Box(*(scale * np.array([b.x0, b.y0, b.x1, b.y1]))) for b in boxes(scene)]])
    assert result.mask_NHW.shape[1:] == image_HWC.shape[:2]
    said = [np.argwhere(mask_HW).mean(axis=0) for mask_HW in result.mask_NHW]
    true = [np.argwhere(thing.mask_HW).mean(axis=0) * scale for thing in scene.things]
    assert np.abs(np.array(said) - true).mean() < 3 * scale


def test_images_of_mixed_sizes_share_a_batch(sam, scenes):
    small_HWC = scenes[1].image_HWC[:100, :60]
    results = sam.segment([scenes[0].image_HWC, small_HWC], [[Box(10, 10, 50, 50)], [Box(5, 5, 40, 40)]])
    assert [result.mask_NHW.shape for result in results] == [(1, 128, 128), (1, 100, 60)]


def test_a_missing_list_of_prompts_is_refused(sam, scenes):
    with pytest.raises(ValueError, match="one list of prompts for each image, got 1 for 2"):
        sam.segment([scenes[0].image_HWC] * 2, [[]])


@pytest.mark.parametrize(
    "wrong", [{"prompts_per_batch": 0}, {"images_per_batch": -1}, {"stability_offset": 0.0}, {"dtype": "int8"}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' must be"):
        SamConfig("anywhere", **wrong)


def test_the_committed_directory_loads_through_the_auto_classes():
    from transformers import AutoModel, AutoProcessor

    assert type(AutoModel.from_pretrained(WEIGHTS)).__name__ == "SamModel"
    assert type(AutoProcessor.from_pretrained(WEIGHTS)).__name__ == "SamProcessor"


def test_an_encoder_in_bfloat16_keeps_prompts_and_masks_exact(sam, scenes):
    images, prompts = [scene.image_HWC for scene in scenes], [boxes(scene) for scene in scenes]
    half = Sam(SamConfig(str(WEIGHTS), dtype="bfloat16"))
    overlaps = [
        iou(exact_HW, half_HW)
        for exact, rough in zip(sam.segment(images, prompts), half.segment(images, prompts), strict=True)
        for exact_HW, half_HW in zip(exact.mask_NHW, rough.mask_NHW, strict=True)
    ]
    assert 0.997 < np.mean(overlaps) < 1
