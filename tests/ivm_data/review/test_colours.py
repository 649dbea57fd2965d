import cv2
import numpy as np
import pytest

from ivm_data.review.colours import VIVID, distinct


def lab(colour):
    return cv2.cvtColor(np.float32([[colour]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def apart(first, second):
    return float(np.linalg.norm(lab(first) - lab(second)))


@pytest.mark.parametrize("beneath", [*VIVID, (0, 0, 0), (255, 255, 255), (128, 128, 128), (34, 139, 34)])
def test_a_colour_is_far_from_what_lies_under_the_mask_and_from_the_second(beneath):
    image_HWC = np.full((60, 80, 3), beneath, np.uint8)
    mask_HW = np.zeros((60, 80), bool)
    mask_HW[30:50, 20:60] = True
    first, second = distinct(image_HWC, mask_HW)
    assert apart(first, beneath) >= max(apart(colour, beneath) for colour in VIVID) - 1e-3
    assert apart(first, beneath) > 60 and apart(second, first) > 60


def test_an_empty_mask_gets_a_colour_that_differs_from_the_whole_image():
    image_HWC = np.full((3000, 20, 3), VIVID[0], np.uint8)
    first, _ = distinct(image_HWC, np.zeros((3000, 20), bool))
    assert apart(first, VIVID[0]) > 60


def test_a_colour_of_other_things_in_the_image_is_avoided():
    image_HWC = np.full((60, 80, 3), (75, 70, 80), np.uint8)
    mask_HW = np.zeros((60, 80), bool)
    mask_HW[30:50, 20:60] = True
    alone, _ = distinct(image_HWC, mask_HW)
    image_HWC[:20] = alone
    among, _ = distinct(image_HWC, mask_HW)
    assert apart(among, alone) > 60 and apart(among, (75, 70, 80)) > 40
