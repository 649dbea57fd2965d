import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer, Sam3ImageProcessor, Sam3Model, Sam3Processor

from ivm_data.experts.proposers.sam3 import Sam3, Sam3Config
from ivm_data.selection import ChooseConfig
from storage.errors import ConfigError, WeightsError
from storage.request import Request

SIDE = 64
RING = Request.of(("red ring",))
STARS = Request.of(("green star",), quantity="all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A SAM 3 with random weights, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("sam3")
    tiny.sam3(folder)
    return folder


@pytest.fixture(scope="module")
def sam3(folder):
    return Sam3(Sam3Config(str(folder), threshold=0.0, choose=ChooseConfig(min_support=0.0, same_object_iou=1.0)))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def reference(folder, image_HWC, phrase, threshold=0.0):
    """Scores and masks of the instances, as the library's own processor and model give them."""
    processor = Sam3Processor(Sam3ImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    inputs = processor(images=image_HWC, text=phrase, return_tensors="pt")
    with torch.no_grad():
        out = Sam3Model.from_pretrained(folder).eval()(**inputs)
    (found,) = processor.image_processor.post_process_instance_segmentation(
        out, threshold=threshold, target_sizes=[image_HWC.shape[:2]]
    )
    return found["scores"].numpy(), found["masks"].numpy().astype(bool)


@pytest.mark.parametrize("shape", [(20, 60), (90, 30)], ids=["wide", "tall"])
def test_all_instances_are_those_of_the_librarys_own_processor_and_model(folder, sam3, shape):
    image_HWC = noise(*shape)
    score_N, mask_NHW = reference(folder, image_HWC, "green star")
    ((mask_HW, score),) = sam3.propose([image_HWC], [STARS])
    assert mask_HW.shape == shape and mask_HW.dtype == bool
    assert len(score_N) == 6 and 0.05 < mask_NHW.mean() < 0.95
    assert (mask_HW != mask_NHW.any(axis=0)).mean() < 1e-3
    assert score == pytest.approx(score_N.min(), abs=1e-4)


def test_one_instance_is_the_best_one(folder, sam3):
    image_HWC = noise(SIDE, SIDE)
    score_N, mask_NHW = reference(folder, image_HWC, "red ring")
    ((mask_HW, score),) = sam3.propose([image_HWC], [RING])
    best_HW = mask_NHW[score_N.argmax()]
    assert score_N.std() > 0.1 and mask_NHW.any(axis=0).sum() > 1.1 * best_HW.sum() > 0
    assert (mask_HW != best_HW).mean() < 1e-3 and score == pytest.approx(score_N.max(), abs=1e-4)


def test_only_instances_above_the_threshold_count(folder):
    image_HWC = noise(SIDE, SIDE)
    score_N, mask_NHW = reference(folder, image_HWC, "green star")
    middle = float(np.sort(score_N)[2:4].mean())
    config = ChooseConfig(min_support=0.0, same_object_iou=1.0)
    ((mask_HW, score),) = Sam3(Sam3Config(str(folder), threshold=middle, choose=config)).propose([image_HWC], [STARS])
    assert (mask_HW != mask_NHW[score_N > middle].any(axis=0)).mean() < 1e-3
    assert score == pytest.approx(np.sort(score_N)[3], abs=1e-4)


def test_what_is_not_there_is_not_found(folder):
    ((mask_HW, score),) = Sam3(Sam3Config(str(folder), threshold=1.0)).propose([noise(12, 17)], [RING])
    assert mask_HW.shape == (12, 17) and not mask_HW.any() and score == 0.0


def test_a_phrase_without_an_instance_lowers_the_score_of_the_whole_answer(folder):
    image_HWC = noise(SIDE, SIDE)
    ring, star = (reference(folder, image_HWC, phrase)[0].max() for phrase in ("red ring", "green star"))
    between = float(ring + star) / 2
    assert abs(ring - star) > 1e-3
    ((mask_HW, score),) = Sam3(Sam3Config(str(folder), threshold=between)).propose(
        [image_HWC], [Request.of(("red ring", "green star"))]
    )
    assert mask_HW.any() and score == pytest.approx(min(ring, star), abs=1e-4)


def test_an_anchor_moves_the_choice_but_not_into_the_mask(folder, sam3):
    image_HWC = noise(SIDE, SIDE)
    _, mask_NHW = reference(folder, image_HWC, "red ring")
    beside = [Request.of(("red ring",), anchor="blue dot", relation=where) for where in ("left of", "right of")]
    left, right = sam3.propose([image_HWC] * 2, beside)
    assert left[1] != right[1]
    for mask_HW, _ in (left, right):
        assert min((mask_HW != one_HW).mean() for one_HW in mask_NHW) < 1e-3


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(sam3):
    images = [noise(20, 60, 1), noise(SIDE, SIDE, 2), noise(90, 30, 3), noise(20, 60, 4)]
    rewrites = [RING, Request.of(("a", "a long thin blue line")), STARS, Request.of(("dot",), "ring", "above")]
    for image, rewrite, (mask_HW, score) in zip(images, rewrites, sam3.propose(images, rewrites), strict=True):
        ((alone_HW, alone),) = sam3.propose([image], [rewrite])
        assert (alone_HW != mask_HW).mean() < 1e-3 and alone == pytest.approx(score, abs=1e-4)


def test_an_image_with_several_instructions_is_encoded_once_and_phrases_pass_in_chunks(folder, sam3, monkeypatch):
    choice = ChooseConfig(min_support=0.0, same_object_iou=1.0)
    small = Sam3(Sam3Config(str(folder), threshold=0.0, prompts_per_batch=1, choose=choice))
    small.load()
    seen = []
    see = small._see
    monkeypatch.setattr(small, "_see", lambda images: seen.append(len(images)) or see(images))
    first, second = noise(SIDE, SIDE), noise(9, 9)
    images, rewrites = [first, second, first], [RING, RING, STARS]
    for (mask_HW, score), (other_HW, other) in zip(
        small.propose(images, rewrites), sam3.propose(images, rewrites), strict=True
    ):
        assert (mask_HW != other_HW).mean() < 1e-3 and score == pytest.approx(other, abs=1e-4)
    assert seen == [2]


def test_no_phrases_no_words_and_no_images_give_nothing(sam3):
    for mask_HW, score in sam3.propose([noise(9, 7)] * 2, [Request(), Request.of((" . ",), anchor="ring")]):
        assert mask_HW.shape == (9, 7) and not mask_HW.any() and score == 0.0
    assert sam3.propose([], []) == []


def test_a_phrase_longer_than_the_text_encoder_reads_is_cut(sam3):
    ((mask_HW, score),) = sam3.propose([noise(9, 7)], [Request.of(("star " * 100,))])
    assert mask_HW.shape == (9, 7) and 0 <= score <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (400, 2)])
def test_tiny_and_very_narrow_images_are_read(sam3, shape):
    ((mask_HW, score),) = sam3.propose([noise(*shape)], [RING])
    assert mask_HW.shape == shape and 0 <= score <= 1


def test_weights_in_bfloat16_give_nearly_the_same_masks(folder, sam3):
    half = Sam3(Sam3Config(str(folder), threshold=0.0, dtype="bfloat16"))
    ((first_HW, first),), ((second_HW, second),) = (e.propose([noise(90, 30)], [RING]) for e in (half, sam3))
    assert (first_HW != second_HW).mean() < 0.1 and first == pytest.approx(second, abs=0.05)


def test_a_missing_request_is_refused(sam3):
    with pytest.raises(ValueError, match="one request for each image, got 1 for 2"):
        sam3.propose([noise(9, 9)] * 2, [RING])


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"prompts_per_batch": 0}, {"images_per_batch": -1}, {"dtype": "int8"}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        Sam3Config("anywhere", **wrong)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(WeightsError, match="holds a 'sam2' model"):
        Sam3(Sam3Config(str(tmp_path))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        Sam3(Sam3Config(str(copy))).load()
