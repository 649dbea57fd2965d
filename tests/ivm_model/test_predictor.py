import numpy as np
import pytest

from ivm_model.predictor import Predictor

IMAGE_HWC = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def test_one_question_is_a_batch_of_one(model):
    predictor = Predictor(model)
    heatmap_HW = predictor.heatmap(IMAGE_HWC, "ok")
    np.testing.assert_array_equal(predictor.heatmaps([IMAGE_HWC], ["ok"])[0], heatmap_HW)
    assert heatmap_HW.shape == (48, 64)


def test_no_question_has_no_answer(model):
    assert Predictor(model).heatmaps([], []) == []


def test_a_mask_keeps_only_what_passes_the_threshold(model):
    predictor = Predictor(model)
    heatmap_HW = predictor.heatmap(IMAGE_HWC, "ok")
    masked = predictor.mask(IMAGE_HWC, "ok", how="overlay", threshold=float(np.quantile(heatmap_HW, 0.99)))
    assert masked.found and masked.image_HWC.shape == IMAGE_HWC.shape
    assert (masked.image_HWC == 255).all(-1).mean() > 0.2


def test_nothing_found_keeps_the_whole_image_and_says_so(model):
    masked = Predictor(model).mask(IMAGE_HWC, "ok", threshold=1.0)
    assert not masked.found
    np.testing.assert_array_equal(masked.image_HWC, IMAGE_HWC)


def test_each_image_needs_its_instruction(model):
    with pytest.raises(ValueError, match="2 for 1"):
        Predictor(model).heatmaps([IMAGE_HWC], ["ok", "ok"])
