import numpy as np
import pytest
from huggingface_hub import ModelCard

from ivm_model.model.checkpoint import save_checkpoint
from ivm_model.predictor import Predictor
from storage.errors import ConfigError, WeightsError

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


def test_several_images_are_masked_as_each_alone(model):
    predictor = Predictor(model)
    images = [IMAGE_HWC, IMAGE_HWC[:30]]
    for image_HWC, masked in zip(images, predictor.masks(images, ["ok", "ok"], "gray", 0.4), strict=True):
        alone = predictor.mask(image_HWC, "ok", "gray", 0.4)
        assert (alone.found, alone.box) == (masked.found, masked.box)
        np.testing.assert_allclose(masked.image_HWC.astype(int), alone.image_HWC, atol=2)


def test_a_checkpoint_is_read_from_the_hubs_cache_by_its_id(model, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository, commit = tmp_path / "models--org--mask", "0123456789abcdef0123456789abcdef01234567"
    save_checkpoint(repository / "whole", model, {}, "# Card\n")
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    assert ModelCard.load(repository / "whole" / "README.md").data.pipeline_tag == "image-segmentation"
    for file in (repository / "whole").iterdir():
        file.rename(repository / "blobs" / file.name)
        (snapshot / file.name).symlink_to(repository / "blobs" / file.name)
    expected_HW = Predictor(model).heatmap(IMAGE_HWC, "ok")
    for name in ("org/mask", snapshot):
        np.testing.assert_array_equal(Predictor.from_pretrained(name).heatmap(IMAGE_HWC, "ok"), expected_HW)


def test_a_hub_id_that_cannot_be_had_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="'org/none' is no folder"):
        Predictor.from_pretrained("org/none")


def test_each_image_needs_its_instruction(model):
    with pytest.raises(ValueError, match="2 for 1"):
        Predictor(model).heatmaps([IMAGE_HWC], ["ok", "ok"])


def test_a_picture_that_the_model_sees_whole_is_the_same_with_zoom(model):
    plain, close = Predictor(model), Predictor(model, zoom=3)
    image_HWC = IMAGE_HWC[: model.side, : model.side]
    np.testing.assert_array_equal(close.heatmap(image_HWC, "ok"), plain.heatmap(image_HWC, "ok"))
    assert close.forwards(image_HWC.shape[:2]) == 1


def test_a_larger_picture_is_seen_in_parts_and_its_heat_is_of_one_place(model):
    side = model.side
    image_HWC = np.random.default_rng(1).integers(0, 255, (2 * side, 3 * side, 3), np.uint8)
    close = Predictor(model, zoom=2)
    heatmap_HW = close.heatmap(image_HWC, "ok")
    assert heatmap_HW.shape == image_HWC.shape[:2] and heatmap_HW.dtype == np.float32
    assert 0 <= heatmap_HW.min() <= heatmap_HW.max() <= 1
    assert close.forwards(image_HWC.shape[:2]) == 1 + 3 * 5 + 2


def test_a_negative_zoom_is_refused(model):
    with pytest.raises(ConfigError, match="zoom"):
        Predictor(model, zoom=-1)
