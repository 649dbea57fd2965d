import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, Owlv2ForObjectDetection, Owlv2Processor
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from ivm_data.experts.grounders.owlv2 import Owlv2, Owlv2Config
from storage.errors import WeightsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """An OWLv2 with random weights, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("owlv2")
    tiny.owlv2(folder)
    return folder


@pytest.fixture(scope="module")
def grounder(folder):
    return Owlv2(Owlv2Config(str(folder), box_threshold=0.0, nms_iou=1.0))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def rows(detections):
    return np.array([[d.box.x0, d.box.y0, d.box.x1, d.box.y1, 100 * d.score] for d in detections]).reshape(-1, 5)


def same(first, second):
    assert [d.phrase for d in first] == [d.phrase for d in second]
    assert np.allclose(rows(first), rows(second), atol=0.01)


def reference(folder, image_HWC, phrases):
    """Probabilities (Q, P) and clipped corners (Q, 4), as the library's own processor and model give them."""
    processor = Owlv2Processor(Owlv2ImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    inputs = processor(text=[phrases], images=image_HWC, return_tensors="pt")
    with torch.no_grad():
        out = Owlv2ForObjectDetection.from_pretrained(folder)(**inputs)
    height, width = image_HWC.shape[:2]
    (found,) = processor.post_process_grounded_object_detection(out, target_sizes=[(height, width)], threshold=-1.0)
    corners_Q4 = np.clip(found["boxes"].numpy(), 0, [width, height, width, height])
    return out.logits[0].sigmoid().numpy(), corners_Q4


@pytest.mark.parametrize("shape", [(20, 60), (90, 30), (64, 64)], ids=["wide", "tall", "square"])
def test_boxes_and_scores_are_those_of_the_librarys_own_processor_and_model(folder, grounder, shape):
    image_HWC, phrases = noise(*shape), ["red ring", "a"]
    score_QP, corners_Q4 = reference(folder, image_HWC, phrases)
    (found,) = grounder.ground([image_HWC], [phrases])
    inside_Q = (corners_Q4[:, 2:] > corners_Q4[:, :2]).all(axis=1)
    for k, phrase in enumerate(phrases):
        expected = np.column_stack([corners_Q4, 100 * score_QP[:, k]])[inside_Q]
        expected = expected[np.argsort(-expected[:, 4], kind="stable")]
        assert np.allclose(rows([d for d in found if d.phrase == phrase]), expected, atol=0.02)
    assert score_QP.std() > 0.01 and np.abs(score_QP[:, 0] - score_QP[:, 1]).max() > 0.01
    assert inside_Q.all() == (shape[0] == shape[1])


def test_a_patch_of_a_wide_image_is_found_where_it_is(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "owlv2")
    model = Owlv2ForObjectDetection.from_pretrained(copy)
    torch.nn.init.zeros_(model.box_head.dense2.weight)
    model.save_pretrained(copy)
    grounder = Owlv2(Owlv2Config(str(copy), box_threshold=0.0, nms_iou=1.0))
    (found,) = grounder.ground([noise(64, 256)], [["ring"]])
    # Now each box is its patch, 64 of the padded 256 pixels, around the patch's far corner; the padding holds 12 more.
    expected = [[32, 32, 96, 64], [96, 32, 160, 64], [160, 32, 224, 64], [224, 32, 256, 64]]
    assert np.allclose(sorted(rows(found)[:, :4].tolist()), expected, atol=0.1)


def test_detections_come_best_first_with_boxes_inside_the_image(grounder):
    (found,) = grounder.ground([noise(20, 60)], [["red ring", "green star"]])
    scores = [d.score for d in found]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert {d.phrase for d in found} == {"red ring", "green star"}
    assert all(0 <= d.box.x0 < d.box.x1 <= 60 and 0 <= d.box.y0 < d.box.y1 <= 20 for d in found)


def test_a_batch_of_mixed_sizes_and_numbers_of_phrases_gives_what_single_images_give(grounder):
    images = [noise(20, 60, 1), noise(64, 64, 2), noise(90, 30, 3), noise(20, 60, 4)]
    phrases = [["ring"], ["big red star", "ring", "a"], [], ["blue dot", "ring"]]
    for image, asked, row in zip(images, phrases, grounder.ground(images, phrases), strict=True):
        same(grounder.ground([image], [asked])[0], row)


def test_images_and_phrases_pass_in_chunks_without_a_change(folder, grounder):
    small = Owlv2(Owlv2Config(str(folder), box_threshold=0.0, nms_iou=1.0, images_per_batch=2, phrases_per_batch=1))
    images, phrases = [noise(30, 40, i) for i in range(5)], [["ring", "star", f"dot {'ab'[i % 2]}"] for i in range(5)]
    for first, second in zip(small.ground(images, phrases), grounder.ground(images, phrases), strict=True):
        same(first, second)


def test_only_scores_from_the_threshold_on_and_no_overlaps_are_kept(folder, grounder):
    image_HWC = noise(64, 64)
    (every,) = grounder.ground([image_HWC], [["ring"]])
    middle = every[len(every) // 2].score
    (kept,) = Owlv2(Owlv2Config(str(folder), box_threshold=middle, nms_iou=1.0)).ground([image_HWC], [["ring"]])
    assert len(kept) == len(every) // 2 + 1
    (apart,) = Owlv2(Owlv2Config(str(folder), box_threshold=0.0, nms_iou=0.01)).ground([image_HWC], [["ring"]])
    assert 1 <= len(apart) < len(every) and apart[0] == every[0]


def test_a_phrase_longer_than_the_text_encoder_reads_is_cut(grounder):
    first, second = grounder.ground([noise(9, 9)] * 2, [["star " * 20], ["star " * 30]])
    assert np.allclose(rows(first), rows(second), atol=0.01)


def test_no_phrases_no_words_and_no_images_give_nothing(grounder):
    assert grounder.ground([noise(9, 9)] * 2, [[], [" . "]]) == [[], []]
    assert grounder.ground([], []) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(grounder, shape):
    (found,) = grounder.ground([noise(*shape)], [["ring"]])
    assert all(0 <= d.score <= 1 and d.box.x1 <= shape[1] and d.box.y1 <= shape[0] for d in found)


def test_weights_in_bfloat16_give_nearly_the_same_boxes(folder, grounder):
    half = Owlv2(Owlv2Config(str(folder), box_threshold=0.0, nms_iou=1.0, dtype="bfloat16"))
    first, second = (rows(e.ground([noise(64, 64)], [["ring"]])[0]) for e in (half, grounder))
    assert len(first) == len(second)
    assert np.abs(first[:, None] - second).max(axis=2).min(axis=1).max() < 2


def test_a_missing_list_of_phrases_is_refused(grounder):
    with pytest.raises(ValueError, match="one list of phrases for each image, got 1 for 2"):
        grounder.ground([noise(9, 9)] * 2, [["ring"]])


@pytest.mark.parametrize("wrong", [{"box_threshold": 1.5}, {"phrases_per_batch": 0}, {"dtype": "int8"}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' must"):
        Owlv2Config("anywhere", **wrong)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "owlvit"}')
    with pytest.raises(WeightsError, match="holds a 'owlvit' model"):
        Owlv2(Owlv2Config(str(tmp_path))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        Owlv2(Owlv2Config(str(copy))).load()
