import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ivm_data.zoo
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.proposers.ivm import Ivm, IvmConfig
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.worlds.scene import draw_scene
from ivm_model.predictor import Predictor
from storage.errors import ConfigError, WeightsError
from storage.request import Request

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights"
RING = Request.of(("red ring",))
PAIR = Request.of(("red ring", "green star"))
BESIDE = Request.of(("star",), anchor="small blue square", relation="left of")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A masking model over the embedded SAM and LMM, before any training."""
    folder = tmp_path_factory.mktemp("ivm") / "round-1"
    tiny.ivm(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_pretrained(folder)


@pytest.fixture(scope="module")
def threshold(predictor):
    """About half of a scene's pixels reach it."""
    return float(np.median(predictor.heatmap(scene(0), "find red ring")))


@pytest.fixture(scope="module")
def ivm(folder, threshold):
    return Ivm(IvmConfig(str(folder), threshold=threshold))


def scene(index):
    return draw_scene("val", 5000 + index).image_HWC


def wide(index):
    return np.pad(scene(index)[:90], [(0, 0), (0, 60), (0, 0)])


def same(first, second):
    assert (first[0] != second[0]).mean() < 1e-2
    assert first[1] == pytest.approx(second[1], abs=1e-4)


def test_the_name_is_known_before_the_weights_are_read(folder):
    expert = Ivm(IvmConfig(str(folder)))
    model, revision = expert.name.split("@")
    assert model == "round-1" and len(revision) == 8
    assert expert._model is None


def test_it_sees_what_its_sam_sees(ivm):
    assert ivm.input_size == InputSize(128, 128)
    assert get(ExpertSpec("ivm", {"path": ivm.config.path, "tiles": True})).propose([scene(1)], [RING])[0][0].ndim == 2


def test_a_person_s_words_are_asked_where_they_are_known(predictor, ivm):
    image_HWC, words = scene(1), "Hand me the star, please."
    asked = replace(RING, instruction=words)
    ((mask_HW, _),) = ivm.propose([image_HWC], [asked])
    assert (mask_HW == (predictor.heatmap(image_HWC, words) >= ivm.config.threshold)).all()
    assert (mask_HW != ivm.propose([image_HWC], [RING])[0][0]).any()


@pytest.mark.parametrize(
    ("rewrite", "instruction"),
    [
        (RING, "find red ring"),
        (PAIR, "find red ring and green star"),
        (BESIDE, "find star left of small blue square"),
    ],
)
def test_the_mask_is_what_the_predictor_finds_for_the_rewrite_in_words(folder, predictor, rewrite, instruction):
    for image_HWC in (scene(1), wide(2)):
        heatmap_HW = predictor.heatmap(image_HWC, instruction)
        threshold = float(np.median(heatmap_HW))
        ((mask_HW, score),) = Ivm(IvmConfig(str(folder), threshold=threshold)).propose([image_HWC], [rewrite])
        assert mask_HW.shape == image_HWC.shape[:2] and mask_HW.dtype == bool
        marked_HW = heatmap_HW >= threshold
        assert (mask_HW == marked_HW).all() and not marked_HW.all()
        assert score == pytest.approx(heatmap_HW[marked_HW].mean() if marked_HW.any() else 0.0, abs=1e-4)


def test_a_batch_of_mixed_sizes_gives_what_single_images_give(ivm):
    images, rewrites = [scene(0), wide(1), scene(2), wide(3)], [RING, PAIR, BESIDE, RING]
    for image, rewrite, result in zip(images, rewrites, ivm.propose(images, rewrites), strict=True):
        same(ivm.propose([image], [rewrite])[0], result)


def test_an_image_with_several_instructions_is_encoded_once(ivm, monkeypatch):
    ivm.load()
    seen = []
    encode = ivm._model.encode
    monkeypatch.setattr(ivm._model, "encode", lambda images: seen.append(len(images)) or encode(images))
    first, second = scene(0), scene(1)
    results = ivm.propose([first, second, first], [RING, RING, BESIDE])
    assert seen == [2]
    same(results[2], ivm.propose([first], [BESIDE])[0])


def test_images_and_instructions_pass_in_chunks_without_a_change(folder, ivm, threshold):
    small = Ivm(IvmConfig(str(folder), threshold=threshold, images_per_batch=2, prompts_per_batch=1))
    images, rewrites = [scene(k) for k in range(3)], [RING, BESIDE, PAIR]
    for first, second in zip(small.propose(images, rewrites), ivm.propose(images, rewrites), strict=True):
        same(first, second)


def test_nothing_hot_is_not_found(folder):
    ((mask_HW, score),) = Ivm(IvmConfig(str(folder), threshold=0.9999)).propose([wide(0)], [RING])
    assert mask_HW.shape == (90, 188) and not mask_HW.any() and score == 0.0


def test_no_phrases_and_no_images_give_nothing(ivm):
    ((mask_HW, score),) = ivm.propose([scene(0)], [Request()])
    assert not mask_HW.any() and score == 0.0
    assert ivm.propose([], []) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (400, 2, 3)])
def test_tiny_and_very_narrow_images_are_read(ivm, shape):
    ((mask_HW, score),) = ivm.propose([np.full(shape, 120, np.uint8)], [RING])
    assert mask_HW.shape == shape[:2] and 0 <= score <= 1


def test_a_missing_request_is_refused(ivm):
    with pytest.raises(ValueError, match="one request for each image, got 1 for 2"):
        ivm.propose([scene(0)] * 2, [RING])


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"prompts_per_batch": 0}, {"images_per_batch": -1}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        IvmConfig("anywhere", **wrong)


def test_a_directory_that_is_no_masking_model_is_refused():
    with pytest.raises(WeightsError, match="is no masking model"):
        Ivm(IvmConfig(str(WEIGHTS / "segmenter"))).load()


def test_another_base_model_than_it_was_trained_on_is_refused(folder):
    with pytest.raises(WeightsError):
        Ivm(IvmConfig(str(folder), sam=str(WEIGHTS / "grounder"))).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        Ivm(IvmConfig(str(copy))).load()
