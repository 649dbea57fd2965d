import numpy as np
import pytest
import torch

from ivm_data.outputs import check
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.training import scenes, segmenter
from ivm_data.zoo.training.segmenter import SegmenterTraining, build, draw_boxes, draw_points, mask_loss, training_loss
from ivm_data.zoo.training.segmenter_scores import jittered, mask_iou


@pytest.fixture(scope="module")
def drawn():
    return [draw_scene("train", index) for index in range(12)]


def test_jittered_boxes_stay_near_their_thing_and_inside_the_image(drawn):
    rng = np.random.default_rng(0)
    for scene in drawn:
        box_P4, mask_PHW = draw_boxes(scene, SegmenterTraining(), rng)
        assert box_P4.dtype == np.float32 and box_P4.min() >= 0 and box_P4.max() <= 128
        for (x0, y0, x1, y1), mask_HW in zip(box_P4, mask_PHW, strict=True):
            y, x = np.argwhere(mask_HW).mean(axis=0)
            assert x0 < x < x1 and y0 < y < y1


def test_a_point_lies_on_its_mask_or_its_mask_is_empty(drawn):
    rng, empty = np.random.default_rng(0), []
    for scene in drawn * 5:
        point_P12, mask_PHW = draw_points(scene, SegmenterTraining(), rng)
        covered_HW = np.any([thing.mask_HW for thing in scene.things], axis=0)
        for (x, y), mask_HW in zip(point_P12[:, 0].astype(int), mask_PHW, strict=True):
            assert mask_HW[y, x] == mask_HW.any() == covered_HW[y, x]
            empty.append(not mask_HW.any())
    assert 0.1 < np.mean(empty) < 0.3


def test_the_fourier_features_have_the_papers_scale_in_both_places():
    model = build()
    first, second = model.shared_image_embedding, model.prompt_encoder.shared_embedding
    assert first.positional_embedding is second.positional_embedding
    assert 0.7 < float(first.positional_embedding.detach().std()) < 1.3


def test_the_loss_falls_where_the_mask_is_right():
    target_MHW = torch.zeros(1, 16, 16)
    target_MHW[:, 4:12, 4:12] = 1
    right, iou_M = mask_loss((target_MHW[:, None] - 0.5) * 20, torch.ones(1), target_MHW)
    wrong, none_M = mask_loss((0.5 - target_MHW[:, None]) * 20, torch.ones(1), target_MHW)
    assert right < 0.01 < wrong and iou_M.item() == 1 and none_M.item() == 0


def test_the_loss_reaches_the_image_encoder(drawn):
    torch.manual_seed(0)
    model = build()
    loss, ious = training_loss(model, drawn[:3], SegmenterTraining(prompts=2), np.random.default_rng(0))
    loss.backward()
    assert model.vision_encoder.patch_embed.projection.weight.grad.abs().sum() > 0
    assert all(0 <= value <= 1 for value in ious)


def test_a_training_writes_a_checkpoint_and_a_card_that_tells_its_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "CHUNK", 8)
    config = SegmenterTraining(steps=3, scenes=8, batch=2, prompts=2, held_out=4, cache_dir=tmp_path / "cache")
    scores = segmenter.train(tmp_path / "segmenter", config, lambda line: None)
    check("zoo", tmp_path / "segmenter")
    card = (tmp_path / "segmenter" / "README.md").read_text()
    assert {"val box mIoU", "test point mIoU"} <= set(scores)
    assert all(name in card for name in scores) and str(tmp_path) not in card


def test_a_config_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="'prompts' must be at least 1, got 0"):
        SegmenterTraining(prompts=0)
    with pytest.raises(ValueError, match=r"'background' must lie in \[0, 1\), got 1"):
        SegmenterTraining(background=1)


def test_jitter_is_a_share_of_the_boxs_side(drawn):
    rng, box = np.random.default_rng(0), drawn[0].things[0].box
    moves = [jittered(box, rng).x1 - box.x1 for _ in range(300)]
    assert np.std(moves) == pytest.approx(0.08 * (box.x1 - box.x0), rel=0.25)


def test_iou_of_each_pair():
    first = np.zeros((2, 4, 4), bool)
    first[0, :2], first[1, :1] = True, True
    second = np.zeros((2, 4, 4), bool)
    second[0, :2] = True
    assert mask_iou(first, second).tolist() == [1.0, 0.0]
