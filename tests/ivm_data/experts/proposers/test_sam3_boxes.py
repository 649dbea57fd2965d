"""SAM 3 as a grounder: all instances of a phrase as boxes, scored by the query times the concept's presence."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou
from transformers import (
    CLIPTokenizer,
    Sam3ImageProcessor,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3Processor,
)

from ivm_data.experts import registry
from ivm_data.experts.proposers.sam3 import Sam3, Sam3Config
from ivm_data.experts.registry import ExpertSpec, create
from storage.errors import ConfigError, WeightsError

MODELS = {"sam3": Sam3Model, "sam3-lite-text": Sam3LiteTextModel}


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(name, tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp(name)
    {"sam3": tiny.sam3, "sam3-lite-text": tiny.sam3_lite_text}[name](folder)
    return folder


@pytest.fixture(scope="module")
def expert(name, folder):
    return create(ExpertSpec(name, {"path": str(folder), "threshold": 0.0, "nms_iou": 1.0}))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def reference(name, folder, image_HWC, phrase):
    """Scores and XYXY boxes of the instances, as the library's own processor and model give them; and the presence."""
    processor = Sam3Processor(Sam3ImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    inputs = processor(images=image_HWC, text=phrase, return_tensors="pt")
    with torch.no_grad():
        out = MODELS[name].from_pretrained(folder).eval()(**inputs)
    (found,) = processor.image_processor.post_process_object_detection(
        out, threshold=0.0, target_sizes=[image_HWC.shape[:2]]
    )
    height, width = image_HWC.shape[:2]
    limit = torch.tensor([width, height, width, height])
    return found["scores"], torch.minimum(found["boxes"].clamp(min=0), limit), out.presence_logits.sigmoid().item()


def numbers(detections):
    boxes_N4 = torch.tensor([[d.box.x0, d.box.y0, d.box.x1, d.box.y1] for d in detections]).reshape(-1, 4)
    return torch.tensor([d.score for d in detections]), boxes_N4


@pytest.mark.parametrize("shape", [(20, 61), (93, 30)], ids=["wide", "tall"])
def test_boxes_and_scores_are_those_of_the_librarys_own_processor_and_model(name, folder, expert, shape):
    image_HWC = noise(*shape)
    score_N, box_N4, presence = reference(name, folder, image_HWC, "green star")
    ((*found,),) = expert.ground([image_HWC], [["green star"]])
    has_area_N = (box_N4[:, 2:] > box_N4[:, :2]).all(dim=1)
    score_N, box_N4 = score_N[has_area_N], box_N4[has_area_N]
    order_N = score_N.argsort(descending=True)
    ours_N, ours_N4 = numbers(found)
    assert len(found) >= 4 and {d.phrase for d in found} == {"green star"}
    torch.testing.assert_close(ours_N, score_N[order_N], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours_N4, box_N4[order_N].float(), atol=0.05, rtol=1e-3)
    assert 0 < float(ours_N.max()) <= presence


def test_scores_are_the_querys_probability_times_the_presence_of_the_concept(name, folder, expert):
    image_HWC = noise(40, 40)
    with torch.no_grad():
        processor = Sam3Processor(Sam3ImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
        out = (
            MODELS[name].from_pretrained(folder).eval()(**processor(images=image_HWC, text="ring", return_tensors="pt"))
        )
    product_Q = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
    ((best, *_),) = expert.ground([image_HWC], [["ring"]])
    assert best.score == pytest.approx(float(product_Q.max()), rel=1e-3)
    assert float(out.presence_logits.sigmoid()) < 0.999 or float(product_Q.max()) < 0.999


def test_only_instances_above_the_threshold_are_found(name, folder, expert):
    image_HWC = noise(50, 50)
    ((*found,),) = expert.ground([image_HWC], [["red ring"]])
    middle = (found[1].score + found[2].score) / 2
    choosy = create(ExpertSpec(name, {"path": str(folder), "threshold": middle, "nms_iou": 1.0}))
    assert [len(row) for row in choosy.ground([image_HWC], [["red ring"]])] == [2]
    strict = create(ExpertSpec(name, {"path": str(folder), "threshold": 1.0}))
    assert strict.ground([image_HWC], [["red ring"]]) == [[]]


def test_boxes_of_a_phrase_that_overlap_more_than_allowed_are_one(name, folder, expert):
    image_HWC = noise(50, 50)
    ((*every,),) = expert.ground([image_HWC], [["red ring"]])
    _, boxes_N4 = numbers(every)
    least = float(box_iou(boxes_N4, boxes_N4).min())
    few = create(ExpertSpec(name, {"path": str(folder), "threshold": 0.0, "nms_iou": max(least, 0.01)}))
    ((*kept,),) = few.ground([image_HWC], [["red ring"]])
    assert 1 <= len(kept) < len(every) and kept[0] == every[0]


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(expert):
    images = [noise(20, 60, 1), noise(64, 64, 2), noise(90, 30, 3), noise(20, 60, 4)]
    phrases = [["red ring"], ["a", "a long thin blue line"], [], ["dot", "Dot."]]
    for image, row, found in zip(images, phrases, expert.ground(images, phrases), strict=True):
        (alone,) = expert.ground([image], [row])
        assert [d.phrase for d in found] == [d.phrase for d in alone]
        for ours, single in zip(numbers(found), numbers(alone), strict=True):
            torch.testing.assert_close(ours, single, atol=1e-2, rtol=1e-3)
        assert {d.phrase for d in found} == set(row)


def test_images_without_phrases_or_words_have_no_boxes(expert):
    assert expert.ground([noise(9, 7)] * 2, [[], [" . "]]) == [[], []]
    assert expert.ground([], []) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2), (37, 61)])
def test_boxes_lie_in_images_of_any_shape(expert, shape):
    height, width = shape
    for detection in expert.ground([noise(*shape)], [["ring", "star " * 100]])[0]:
        box = detection.box
        assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height and 0 <= detection.score <= 1


def test_grounder_and_proposer_of_a_recipe_are_one_copy(name, folder):
    specs = [ExpertSpec(name, {"path": str(folder), "threshold": 0.25}) for _ in range(2)]
    grounder, proposer = map(registry.get, specs)
    assert grounder is proposer and callable(grounder.ground) and callable(proposer.propose)


def test_a_missing_list_of_phrases_is_refused(expert):
    with pytest.raises(ValueError, match="one list of phrases for each image, got 1 for 2"):
        expert.ground([noise(9, 9)] * 2, [["ring"]])


def test_a_config_that_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="'nms_iou' must"):
        Sam3Config("anywhere", nms_iou=0.0)


def test_the_detector_is_read_from_a_checkpoint_with_the_tracker_as_released(tmp_path, tiny):
    tensors = tiny.sam3_video(tmp_path)
    expert = Sam3(Sam3Config(str(tmp_path), threshold=0.0))
    expert.ground([noise(20, 30)], [["red ring"]])
    for key, value in expert._model.state_dict().items():
        assert torch.equal(value, tensors[f"detector_model.{key}"]), key


def test_the_other_one_is_refused(name, tmp_path, tiny):
    {"sam3": tiny.sam3_lite_text, "sam3-lite-text": tiny.sam3}[name](tmp_path)
    with pytest.raises(WeightsError, match="model_type"):
        create(ExpertSpec(name, {"path": str(tmp_path)})).load()
