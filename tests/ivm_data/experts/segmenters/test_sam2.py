import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam2ImageProcessor, Sam2Model, Sam2VideoConfig, Sam2VideoModel

import ivm_data.zoo
from ivm_data.experts.segmenters.prompted_masks import JoinedPrompt
from ivm_data.experts.segmenters.sam import SamConfig
from ivm_data.experts.segmenters.sam2 import Sam2
from storage.errors import WeightsError
from storage.records import Box

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights"
SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A SAM 2 with random weights, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("sam2")
    tiny.sam2(folder)
    return folder


@pytest.fixture(scope="module")
def sam2(folder):
    return Sam2(SamConfig(str(folder)))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def same(first, second):
    assert first.mask_NHW.shape == second.mask_NHW.shape
    assert (first.mask_NHW != second.mask_NHW).mean() < 1e-3
    assert np.allclose(first.predicted_iou_N, second.predicted_iou_N, atol=1e-4)
    assert np.allclose(first.stability_N, second.stability_N, atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 120), (90, 30)], ids=["wide", "tall"])
def test_masks_are_those_of_the_librarys_own_processor_and_model(folder, sam2, shape):
    from transformers import Sam2Processor

    image_HWC, corners = noise(*shape), [[2.0, 3.0, 20.0, 30.0], [5.0, 1.0, 28.0, 39.0]]
    inputs = Sam2Processor(Sam2ImageProcessor.from_pretrained(folder))(
        images=image_HWC, input_boxes=[corners], return_tensors="pt"
    )
    with torch.no_grad():
        out = Sam2Model.from_pretrained(folder)(**inputs, multimask_output=False)
    logits_NHW = torch.nn.functional.interpolate(out.pred_masks[0], shape, mode="bilinear", align_corners=False)[:, 0]
    (result,) = sam2.segment([image_HWC], [[Box(*row) for row in corners]])
    assert result.mask_NHW.shape == (2, *shape) and result.mask_NHW.dtype == bool
    assert 0.05 < result.mask_NHW.mean() < 0.95
    assert (result.mask_NHW[0] != result.mask_NHW[1]).mean() > 0.05
    assert (result.mask_NHW != (logits_NHW > 0).numpy()).mean() < 1e-3
    assert np.allclose(result.predicted_iou_N, out.iou_scores[0, :, 0].clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize("box", [None, [4.0, 3.0, 60.0, 36.0]], ids=["points", "points and a box"])
def test_joined_prompts_are_one_prompt_of_the_librarys_own_model(folder, sam2, box):
    from transformers import Sam2Processor

    image_HWC, points, wanted = noise(40, 120), [[10.0, 12.0], [30.0, 20.0], [50.0, 35.0]], [1, 0, 1]
    boxes = {} if box is None else {"input_boxes": [[box]]}
    inputs = Sam2Processor(Sam2ImageProcessor.from_pretrained(folder))(
        images=image_HWC, input_points=[[points]], input_labels=[[wanted]], return_tensors="pt", **boxes
    )
    with torch.no_grad():
        out = Sam2Model.from_pretrained(folder)(**inputs, multimask_output=False)
    logits_11HW = torch.nn.functional.interpolate(out.pred_masks[0], (40, 120), mode="bilinear", align_corners=False)
    prompt = JoinedPrompt(np.array(points), np.array(wanted, bool), None if box is None else Box(*box))
    found = sam2.segment_joined(image_HWC, prompt)
    assert sam2.joins_prompts and found.mask_NHW.shape == (1, 40, 120)
    assert (found.mask_NHW != (logits_11HW[:, 0] > 0).numpy()).mean() < 1e-3
    assert np.allclose(found.predicted_iou_N, out.iou_scores[0, :, 0].clamp(0, 1), atol=1e-4)
    (each,) = sam2.segment_points([image_HWC], [np.array(points)])
    assert (found.mask_NHW[0] != each.mask_NHW[[0, 2]].any(axis=0)).mean() > 0.01


def test_a_point_gives_the_best_of_the_masks_it_could_mean(folder, sam2):
    image_HWC, point = noise(SIDE, SIDE), [30.0, 20.0]
    inputs = Sam2ImageProcessor.from_pretrained(folder)(images=image_HWC, return_tensors="pt")
    with torch.no_grad():
        out = Sam2Model.from_pretrained(folder)(
            pixel_values=inputs["pixel_values"], input_points=torch.tensor([[[point]]]), multimask_output=True
        )
    (result,) = sam2.segment_points([image_HWC], [np.array([point])])
    assert out.iou_scores.shape == (1, 1, 3)
    assert np.allclose(result.predicted_iou_N, out.iou_scores.max().clamp(0, 1), atol=1e-4)


def test_scores_are_float32_in_the_unit_interval(sam2):
    (result,) = sam2.segment([noise(50, 70)], [[Box(1, 1, 30, 30), Box(10, 10, 60, 40)]])
    for score_N in (result.predicted_iou_N, result.stability_N):
        assert score_N.dtype == np.float32 and score_N.shape == (2,)
        assert ((score_N >= 0) & (score_N <= 1)).all()


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(sam2):
    images = [noise(40, 120, 1), noise(SIDE, SIDE, 2), noise(90, 30, 3), noise(40, 120, 4)]
    boxes = [[Box(3, 3, 30, 20)], [Box(0, 0, 64, 64), Box(9, 9, 20, 20)], [Box(1, 40, 29, 80)], [Box(3, 3, 30, 20)]]
    for image, row, result in zip(images, boxes, sam2.segment(images, boxes), strict=True):
        same(sam2.segment([image], [row])[0], result)


def test_many_prompts_pass_in_chunks_without_a_change(folder):
    y, x = np.mgrid[2:64:8, 2:64:8]
    grid_N2 = np.stack([x.ravel(), y.ravel()], axis=1)
    small, large = (Sam2(SamConfig(str(folder), prompts_per_batch=size)) for size in (13, 64))
    (first,), (second,) = (sam.segment_points([noise(SIDE, SIDE)], [grid_N2]) for sam in (small, large))
    assert len(first.mask_NHW) == 64
    same(first, second)


def test_no_prompts_give_empty_results(sam2):
    images = [noise(50, 70), noise(30, 30)]
    results = sam2.segment(images, [[], [Box(1, 1, 9, 9)]])
    assert results[0].mask_NHW.shape == (0, 50, 70) and results[0].predicted_iou_N.shape == (0,)
    assert results[1].mask_NHW.shape == (1, 30, 30)
    assert sam2.segment_points(images[:1], [np.zeros((0, 2))])[0].mask_NHW.shape == (0, 50, 70)
    assert sam2.segment([], []) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(sam2, shape):
    (result,) = sam2.segment([noise(*shape)], [[Box(0, 0, shape[1], shape[0])]])
    assert result.mask_NHW.shape == (1, *shape)


def test_weights_in_bfloat16_give_nearly_the_same_masks(folder, sam2):
    half = Sam2(SamConfig(str(folder), dtype="bfloat16"))
    (first,), (second,) = (expert.segment([noise(40, 60)], [[Box(2, 3, 20, 30)]]) for expert in (half, sam2))
    assert (first.mask_NHW != second.mask_NHW).mean() < 0.05
    assert np.allclose(first.predicted_iou_N, second.predicted_iou_N, atol=0.02)


def test_a_missing_list_of_prompts_is_refused(sam2):
    with pytest.raises(ValueError, match="one list of prompts for each image, got 1 for 2"):
        sam2.segment([noise(9, 9)] * 2, [[]])


def test_a_video_checkpoint_as_released_gives_its_image_part(tmp_path, tiny):
    torch.manual_seed(0)
    vision, prompts, decoder = tiny.sam2_parts()
    config = Sam2VideoConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
        image_size=SIDE,
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
    )
    video = Sam2VideoModel(config)
    video.save_pretrained(tmp_path)
    Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    expert = Sam2(SamConfig(str(tmp_path)))
    (result,) = expert.segment([noise(40, 60)], [[Box(1, 1, 30, 30)]])
    assert result.mask_NHW.shape == (1, 40, 60)
    loaded = expert._model.state_dict()
    assert all((value == loaded[name]).all() for name, value in video.state_dict().items() if name in loaded)
    assert type(expert._model) is Sam2Model


@pytest.mark.parametrize(("other", "said"), [("segmenter", "'sam' model"), ("grounder", "'grounding-dino' model")])
def test_another_architecture_is_refused(other, said):
    with pytest.raises(WeightsError, match=said):
        Sam2(SamConfig(str(WEIGHTS / other))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        Sam2(SamConfig(str(copy))).load()
