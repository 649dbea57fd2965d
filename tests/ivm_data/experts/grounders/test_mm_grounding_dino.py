import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, MMGroundingDinoForObjectDetection

import ivm_data.zoo
from ivm_data.experts.grounders.grounding_dino import GroundingDino, GroundingDinoConfig
from ivm_data.experts.grounders.mm_grounding_dino import MmGroundingDino
from ivm_data.worlds.scene import draw_scene
from storage.errors import WeightsError

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights" / "grounder"
WIDTH = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """The embedded grounder's trained weights in an MM-Grounding-DINO, whose logits are theirs / sqrt(width)."""
    folder = tmp_path_factory.mktemp("mm")
    tiny.mm_grounding_dino(folder)
    return folder


def every_box(folder):
    return GroundingDinoConfig(str(folder), box_threshold=0.0, nms_iou=1.0)


@pytest.fixture(scope="module")
def grounder(folder):
    return MmGroundingDino(every_box(folder))


def rows(detections):
    return np.array([[d.box.x0, d.box.y0, d.box.x1, d.box.y1, 100 * d.score] for d in detections]).reshape(-1, 5)


def same(first, second):
    assert [d.phrase for d in first] == [d.phrase for d in second]
    assert np.allclose(rows(first), rows(second), atol=0.02)


@pytest.mark.parametrize("pad", [(0, 0), (0, 90), (300, 0)], ids=["square", "wide", "very tall"])
def test_boxes_are_those_of_grounding_dino_with_the_same_weights(grounder, pad):
    image_HWC = np.pad(draw_scene("val", 5000).image_HWC, [(0, pad[0]), (0, pad[1]), (0, 0)])
    (mm,), (dino,) = (
        expert.ground([image_HWC], [["ring"]]) for expert in (grounder, GroundingDino(every_box(WEIGHTS)))
    )
    logit = np.array([math.log(d.score / (1 - d.score)) for d in dino])
    assert len(mm) == len(dino) > 10
    assert np.allclose(rows(mm)[:, :4], rows(dino)[:, :4], atol=0.02)
    assert np.allclose(rows(mm)[:, 4], 100 / (1 + np.exp(-logit / math.sqrt(WIDTH))), atol=0.02)


def test_a_batch_of_mixed_captions_and_sizes_gives_what_single_images_give(grounder):
    images = [draw_scene("val", 5000 + k).image_HWC for k in range(3)]
    images[1] = np.pad(images[1], [(0, 0), (0, 80), (0, 0)])
    phrases = [["red ring"], ["big blue star", "ring", "green square"], ["star", "white circle"]]
    for image, asked, row in zip(images, phrases, grounder.ground(images, phrases), strict=True):
        same(grounder.ground([image], [asked])[0], row)


def test_no_phrases_and_no_images_give_nothing(grounder):
    image_HWC = np.zeros((9, 9, 3), np.uint8)
    assert grounder.ground([image_HWC, image_HWC], [[], [" . "]]) == [[], []]
    assert grounder.ground([], []) == []


def test_a_pixel_is_read(grounder):
    (found,) = grounder.ground([np.zeros((1, 1, 3), np.uint8)], [["ring"]])
    assert all(d.box.x1 <= 1 and d.box.y1 <= 1 for d in found)


@pytest.mark.parametrize(
    ("expert", "found"), [(MmGroundingDino, "grounding-dino"), (GroundingDino, "mm-grounding-dino")]
)
def test_each_of_the_two_refuses_the_others_checkpoint(folder, expert, found):
    with pytest.raises(WeightsError, match=f"holds a '{found}' model"):
        expert(every_box(WEIGHTS if expert is MmGroundingDino else folder)).load()


def test_torn_weights_are_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="cannot read"):
        MmGroundingDino(every_box(copy)).load()


@torch.inference_mode()
def test_what_is_shared_and_folded_changes_no_output_of_the_model(grounder, folder):
    grounder.load()
    plain = MMGroundingDinoForObjectDetection.from_pretrained(folder).eval()
    captions = ["red ring .", "small green star . big blue square ."]
    text = AutoTokenizer.from_pretrained(folder)(captions, padding=True, return_tensors="pt")
    image_BCHW = torch.stack([grounder._pixels(draw_scene("val", 5000).image_HWC)] * 2)
    expected, found = (model(pixel_values=image_BCHW, **text) for model in (plain, grounder._model))
    assert expected.logits[..., 1].sigmoid().std() > 0.001
    assert torch.allclose(found.logits.sigmoid(), expected.logits.sigmoid(), atol=1e-4)
    assert torch.allclose(found.pred_boxes, expected.pred_boxes, atol=1e-4)
