import numpy as np
import pytest

from ivm_model.data.augment import AugmentConfig, augment
from storage.errors import ConfigError

RNG = np.random.default_rng(0)
IMAGE_HWC = RNG.integers(0, 255, (40, 60, 3), np.uint8)
MASK_HW = np.zeros((40, 60), np.uint8)
MASK_HW[10:20, 5:15] = 255


def changed(config: AugmentConfig, instruction: str, seed: int = 0):
    return augment(IMAGE_HWC, MASK_HW, instruction, config, np.random.default_rng(seed))


def test_a_flip_mirrors_image_and_mask_together():
    image_HWC, mask_HW = changed(AugmentConfig(flip=1), "the red cup")
    np.testing.assert_array_equal(image_HWC, IMAGE_HWC[:, ::-1])
    np.testing.assert_array_equal(mask_HW, MASK_HW[:, ::-1])


@pytest.mark.parametrize(
    "instruction",
    ["the cup on the LEFT", "right-hand glove", "turn it clockwise", "What does the sign say?", "read the time"],
)
def test_an_instruction_that_names_a_side_or_asks_for_writing_is_never_mirrored(instruction):
    np.testing.assert_array_equal(changed(AugmentConfig(flip=1), instruction)[0], IMAGE_HWC)


@pytest.mark.parametrize(
    "instruction", ["the leftmost cup", "the cup in the middle", "all cups", "the second from left"]
)
def test_an_instruction_that_names_a_place_is_never_cropped(instruction):
    for seed in range(5):
        np.testing.assert_array_equal(changed(AugmentConfig(crop=1), instruction, seed)[0], IMAGE_HWC)


def test_a_crop_keeps_the_whole_mask_and_no_less_than_it_may():
    shapes = set()
    for seed in range(50):
        image_HWC, mask_HW = changed(AugmentConfig(crop=1, smallest=0.5), "the cup", seed)
        assert mask_HW.sum() == MASK_HW.sum() and image_HWC.shape[:2] == mask_HW.shape
        assert mask_HW.shape[0] >= 20 and mask_HW.shape[1] >= 30
        shapes.add(mask_HW.shape)
    assert len(shapes) > 10


def test_an_empty_mask_may_be_cropped_anywhere_and_a_full_one_nowhere():
    config, rng = AugmentConfig(crop=1), np.random.default_rng(0)
    assert augment(IMAGE_HWC, np.zeros_like(MASK_HW), "the cup", config, rng)[1].size < MASK_HW.size
    full_HW = np.full_like(MASK_HW, 255)
    np.testing.assert_array_equal(augment(IMAGE_HWC, full_HW, "the cup", config, rng)[0], IMAGE_HWC)


def test_colours_change_and_the_mask_does_not():
    image_HWC, mask_HW = changed(AugmentConfig(colour=0.4), "the red cup")
    assert image_HWC.dtype == np.uint8 and 1 < np.abs(image_HWC.astype(int) - IMAGE_HWC).mean() < 80
    np.testing.assert_array_equal(mask_HW, MASK_HW)


def test_nothing_is_changed_by_default():
    assert not AugmentConfig().active
    np.testing.assert_array_equal(changed(AugmentConfig(), "the cup")[0], IMAGE_HWC)


@pytest.mark.parametrize("wrong", [{"flip": 2}, {"crop": -1}, {"smallest": 0}, {"colour": 1}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        AugmentConfig(**wrong)
