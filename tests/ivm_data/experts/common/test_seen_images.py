import gc

import numpy as np
import pytest

from ivm_data.experts.common import seen_images
from ivm_data.experts.common.seen_images import SeenImages
from ivm_data.experts.segmenters.sam import Sam, SamConfig
from ivm_data.zoo.embedded import WEIGHTS
from storage.records import Box

BOX = Box(10, 10, 50, 60)


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def sam():
    return Sam(SamConfig(str(WEIGHTS / "segmenter")))


def test_an_array_is_known_again_and_its_equal_is_not():
    seen, first = SeenImages(), image()
    seen.put(first, "embedding")
    assert seen.get(first) == "embedding"
    assert seen.get(first.copy()) is None


def test_an_embedding_goes_with_its_image():
    seen, first = SeenImages(), image()
    seen.put(first, "embedding")
    del first
    gc.collect()
    assert len(seen) == 0


def test_no_more_than_so_many_are_held():
    seen, images = SeenImages(), [image(seed) for seed in range(seen_images.MOST + 5)]
    for each in images:
        seen.put(each, "embedding")
    assert len(seen) == seen_images.MOST
    assert seen.get(images[0]) is None and seen.get(images[-1]) == "embedding"


def test_boxes_and_then_points_on_the_same_images_need_one_embedding_each(sam):
    images = [image(1), image(2)]
    sam.load()
    encoded = []
    hook = sam._model.vision_encoder.register_forward_hook(lambda _, inputs, __: encoded.append(len(inputs[0])))
    sam.segment(images, [[BOX], [BOX]])
    later = sam.segment_points([*images, image(3)], [np.array([[20.0, 30.0]])] * 3)
    hook.remove()
    assert encoded == [1, 1, 1]
    fresh = sam.segment_points([each.copy() for each in images], [np.array([[20.0, 30.0]])] * 2)
    for known, new in zip(later, fresh, strict=False):
        assert (known.mask_NHW == new.mask_NHW).all() and np.array_equal(known.predicted_iou_N, new.predicted_iou_N)
