"""SAM 3's tracker and EdgeTAM: prompted as SAM 2 is, from small checkpoints of their own classes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    EdgeTamModel,
    Sam2ImageProcessor,
    Sam2Processor,
    Sam3ImageProcessor,
    Sam3TrackerModel,
    Sam3TrackerProcessor,
)

import ivm_data.zoo
from ivm_data.experts.registry import ExpertSpec, create
from ivm_data.experts.segmenters.sam import SamConfig
from ivm_data.experts.segmenters.sam3_tracker import Sam3Tracker
from storage.errors import WeightsError
from storage.pixels.images import read
from storage.records import Box

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights"
SIDE = 64


@dataclass(frozen=True)
class Family:
    """A registered name, the library's own classes, and a checkpoint with random weights."""

    name: str
    model: Any
    processor: Any
    folder: Path

    def expert(self, **options):
        return create(ExpertSpec(self.name, {"path": str(self.folder), **options}))


@pytest.fixture(scope="module", params=["sam3-tracker", "edgetam"])
def family(request, tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "edgetam":
        tiny.edgetam(folder)
        return Family(request.param, EdgeTamModel, Sam2Processor(Sam2ImageProcessor.from_pretrained(folder)), folder)
    tiny.sam3_tracker(folder)
    processor = Sam3TrackerProcessor(Sam3ImageProcessor.from_pretrained(folder))
    return Family(request.param, Sam3TrackerModel, processor, folder)


@pytest.fixture(scope="module")
def expert(family):
    return family.expert()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def same(first, second):
    assert first.mask_NHW.shape == second.mask_NHW.shape
    assert (first.mask_NHW != second.mask_NHW).mean() < 1e-3
    assert np.allclose(first.predicted_iou_N, second.predicted_iou_N, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 121), (93, 30)], ids=["wide", "tall"])
def test_masks_of_boxes_are_those_of_the_librarys_own_processor_and_model(family, expert, shape):
    image_HWC, corners = noise(*shape), [[2.0, 3.0, 20.0, 30.0], [5.0, 1.0, 28.0, 39.0]]
    inputs = family.processor(images=image_HWC, input_boxes=[corners], return_tensors="pt")
    with torch.no_grad():
        out = family.model.from_pretrained(family.folder).eval()(**inputs, multimask_output=False)
    (expected_N1HW,) = family.processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
    (result,) = expert.segment([image_HWC], [[Box(*row) for row in corners]])
    assert result.mask_NHW.shape == (2, *shape) and result.mask_NHW.dtype == bool
    assert 0.05 < result.mask_NHW.mean() < 0.95
    assert (result.mask_NHW[0] != result.mask_NHW[1]).mean() > 0.01
    assert (result.mask_NHW != expected_N1HW[:, 0].numpy()).mean() < 1e-3
    assert np.allclose(result.predicted_iou_N, out.iou_scores[0, :, 0].clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 121), (93, 30)], ids=["wide", "tall"])
def test_a_point_gives_the_best_of_the_masks_that_the_library_gives(family, expert, shape):
    image_HWC, point = noise(*shape), [21.0, 17.0]
    inputs = family.processor(images=image_HWC, input_points=[[[point]]], input_labels=[[[1]]], return_tensors="pt")
    with torch.no_grad():
        out = family.model.from_pretrained(family.folder).eval()(**inputs, multimask_output=True)
    (expected_1MHW,) = family.processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
    (result,) = expert.segment_points([image_HWC], [np.array([point])])
    assert out.iou_scores.shape == (1, 1, 3)
    best = int(out.iou_scores[0, 0].argmax())
    assert (result.mask_NHW[0] != expected_1MHW[0, best].numpy()).mean() < 1e-3
    assert np.allclose(result.predicted_iou_N, out.iou_scores.max().clamp(0, 1), atol=1e-4)


def test_another_box_and_another_image_give_another_mask_and_the_same_ones_the_same(family, expert):
    first, second = noise(50, 70, 1), noise(50, 70, 2)
    box, other = [Box(1, 1, 30, 30)], [Box(20, 10, 69, 49)]
    (a,), (b,), (c,) = (expert.segment([image], [row]) for image, row in ((first, box), (first, other), (second, box)))
    assert (a.mask_NHW != b.mask_NHW).any() and (a.mask_NHW != c.mask_NHW).any()
    (again,) = family.expert().segment([first], [box])
    assert (again.mask_NHW == a.mask_NHW).all() and (again.predicted_iou_N == a.predicted_iou_N).all()


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(expert):
    images = [noise(40, 120, 1), noise(SIDE, SIDE, 2), noise(90, 30, 3), noise(40, 120, 4)]
    boxes = [[Box(3, 3, 30, 20)], [Box(0, 0, 64, 64), Box(9, 9, 20, 20)], [Box(1, 40, 29, 80)], [Box(3, 3, 30, 20)]]
    for image, row, result in zip(images, boxes, expert.segment(images, boxes), strict=True):
        same(expert.segment([image], [row])[0], result)


def test_many_prompts_pass_in_chunks_without_a_change(family):
    y, x = np.mgrid[2:64:8, 2:64:8]
    grid_N2 = np.stack([x.ravel(), y.ravel()], axis=1)
    small, large = (family.expert(prompts_per_batch=size) for size in (13, 64))
    (first,), (second,) = (sam.segment_points([noise(SIDE, SIDE)], [grid_N2]) for sam in (small, large))
    assert len(first.mask_NHW) == 64
    same(first, second)


def test_scores_are_float32_in_the_unit_interval(expert):
    (result,) = expert.segment([noise(50, 70)], [[Box(1, 1, 30, 30), Box(10, 10, 60, 40)]])
    for score_N in (result.predicted_iou_N, result.stability_N):
        assert score_N.dtype == np.float32 and score_N.shape == (2,)
        assert ((score_N >= 0) & (score_N <= 1)).all()


def test_no_prompts_give_empty_results(expert):
    images = [noise(50, 70), noise(30, 30)]
    results = expert.segment(images, [[], [Box(1, 1, 9, 9)]])
    assert results[0].mask_NHW.shape == (0, 50, 70) and results[1].mask_NHW.shape == (1, 30, 30)
    assert expert.segment_points(images[:1], [np.zeros((0, 2))])[0].mask_NHW.shape == (0, 50, 70)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2), (37, 61)])
def test_tiny_narrow_and_odd_images_are_read(expert, shape):
    (result,) = expert.segment([noise(*shape)], [[Box(0, 0, shape[1], shape[0])]])
    assert result.mask_NHW.shape == (1, *shape)


def test_a_photograph_that_a_camera_turned_has_masks_of_the_turned_image(expert, tmp_path):
    facts = Image.Exif()
    facts[0x0112] = 6
    Image.fromarray(noise(40, 90)).save(tmp_path / "turned.jpg", exif=facts, quality=95)
    image_HWC = read(tmp_path / "turned.jpg")
    assert image_HWC.shape == (90, 40, 3)
    (result,) = expert.segment([image_HWC], [[Box(2, 50, 38, 88)]])
    assert result.mask_NHW.shape == (1, 90, 40)


def test_arithmetic_in_bfloat16_gives_nearly_the_same_masks(family, expert):
    (first,), (second,) = (
        one.segment([noise(40, 60)], [[Box(2, 3, 20, 30)]]) for one in (family.expert(dtype="bfloat16"), expert)
    )
    assert (first.mask_NHW != second.mask_NHW).mean() < 0.1
    assert np.allclose(first.predicted_iou_N, second.predicted_iou_N, atol=0.05)


@pytest.mark.parametrize(("other", "said"), [("segmenter", "'sam' model"), ("grounder", "'grounding-dino' model")])
def test_another_architecture_is_refused(family, other, said):
    with pytest.raises(WeightsError, match=said):
        create(ExpertSpec(family.name, {"path": str(WEIGHTS / other)})).load()


def test_torn_weights_are_refused(family, tmp_path):
    copy = shutil.copytree(family.folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        create(ExpertSpec(family.name, {"path": str(copy)})).load()


def test_the_tracker_is_read_from_a_checkpoint_with_the_detector_as_released(tmp_path, tiny):
    tensors = tiny.sam3_video(tmp_path)
    expert = Sam3Tracker(SamConfig(str(tmp_path)))
    (result,) = expert.segment([noise(40, 60)], [[Box(1, 1, 30, 30)]])
    assert result.mask_NHW.shape == (1, 40, 60)
    loaded = expert._model.state_dict()
    assert type(expert._model) is Sam3TrackerModel
    for name, value in loaded.items():
        source = name.replace("vision_encoder.neck.", "tracker_neck.")
        if source == name:
            source = f"detector_model.{name}" if name.startswith("vision_encoder.") else f"tracker_model.{name}"
        assert torch.equal(value, tensors[source]), name
