"""Coarse to fine, with a plain function in the model's place, which finds bright pixels."""

import numpy as np

from ivm_model.zoom import parts, zoomed

SIDE = 64


def seeing(shown=None):
    """Bright pixels are found, and what was looked at is noted in `shown`."""

    def see(images):
        if shown is not None:
            shown.append([image.shape[:2] for image in images])
        return [image[..., 0].astype(np.float32) / 255 for image in images]

    return see


def test_a_small_thing_is_found_where_it_is_and_nothing_elsewhere():
    image_HWC = np.zeros((300, 500, 3), np.uint8)
    image_HWC[201:209, 333:345] = 250
    image_HWC[20:28, 20:28] = 150
    shown = []
    heat_HW = zoomed(seeing(shown), image_HWC, np.zeros((300, 500), np.float32), SIDE, looks=3, at_once=16)
    rows, columns = np.nonzero(heat_HW >= 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (201, 208, 333, 344)
    assert max(map(len, shown)) <= 16 and sum(map(len, shown)) == len(parts((300, 500), SIDE)) + 3
    assert {size for some in shown for size in some} == {(SIDE, SIDE)}


def test_a_heat_that_comes_and_goes_with_the_part_is_less_sure_than_one_that_stays():
    image_HWC = np.zeros((64, 256, 3), np.uint8)
    image_HWC[30:40, 200:210, 0] = 200
    image_HWC[..., 1] = np.arange(256)

    def see(images):
        heats = [image[..., 0].astype(np.float32) / 255 for image in images]
        for image, heat_HW in zip(images, heats, strict=True):
            if not image[..., 0].any() and image[0, 0, 1]:
                heat_HW[10:20, 2:12] = 0.9
        return heats

    heat_HW = zoomed(see, image_HWC, np.zeros((64, 256), np.float32), SIDE, looks=6, at_once=4)
    assert heat_HW[30:40, 200:210].min() > 0.7


def test_a_thing_longer_than_half_a_part_stays_as_the_whole_picture_shows_it():
    image_HWC = np.zeros((300, 300, 3), np.uint8)
    image_HWC[50:250, 50:250] = 250
    coarse_HW = image_HWC[..., 0].astype(np.float32) / 255
    np.testing.assert_array_equal(zoomed(seeing(), image_HWC, coarse_HW, SIDE, looks=2, at_once=8), coarse_HW)


def test_a_huge_picture_has_a_bounded_number_of_parts_and_a_small_one_none():
    assert parts((64, 80), SIDE) == [] and 0 < len(parts((9000, 12000), SIDE)) <= 300
