import numpy as np
import pytest

from ivm_data.sources.human_mask import human_label
from ivm_data.sources.marked_size import factors, resized, scales_alike
from storage.errors import InputError
from storage.pixels import rle
from storage.records import Box

SIZE = (120, 160)
SQUARE = [20.0, 20.0, 60.0, 20.0, 60.0, 60.0, 20.0, 60.0]


@pytest.mark.parametrize(
    ("marked", "size", "alike"),
    [
        ((240, 320), SIZE, True),
        ((60, 80), SIZE, True),
        ((3456, 5184), (427, 640), True),
        ((427, 640), (3456, 5184), True),
        ((3456, 5184), (426, 640), True),
        ((240, 321), SIZE, True),
        ((240, 300), SIZE, False),
        ((200, 320), SIZE, False),
        ((160, 120), SIZE, False),
        ((240, 240), SIZE, False),
    ],
)
def test_images_scale_alike_within_the_pixel_that_rounding_costs(marked, size, alike):
    assert scales_alike(marked, size) is alike


def test_polygons_boxes_and_runs_of_a_larger_image_are_scaled(tmp_path):
    sized = {"size": [240, 320]}
    mask = human_label([{"polygons": [SQUARE]} | sized], None, SIZE, tmp_path).mask
    assert (rle.bbox(mask), rle.area(mask)) == (Box(10, 10, 30, 30), 400)
    assert human_label([{"box": [20, 20, 60, 60]} | sized], None, SIZE, tmp_path).boxes == (Box(10, 10, 30, 30),)
    large_HW = np.zeros((240, 320), bool)
    large_HW[20:60, 20:60] = True
    runs = {"mask_rle": {"size": [240, 320], "counts": rle.encode(large_HW).counts.decode()}}
    assert human_label([runs], None, SIZE, tmp_path).mask == mask


def test_runs_of_a_smaller_image_become_whole_blocks(tmp_path):
    small_HW = np.random.default_rng(0).random((12, 16)) < 0.5
    runs = {"mask_rle": {"size": [12, 16], "counts": rle.encode(small_HW).counts.decode()}}
    found_HW = rle.decode(human_label([runs], None, SIZE, tmp_path).mask)
    assert (found_HW == np.kron(small_HW, np.ones((10, 10), bool))).all()
    assert (resized(found_HW, (12, 16)) == small_HW).all()


@pytest.mark.parametrize(
    "target",
    [
        {"polygons": [SQUARE], "size": [240, 300]},
        {"box": [20, 20, 60, 60], "size": [240, 300]},
        {"box": [0.1, 0.1, 0.6, 0.6], "frame": "image", "size": [240, 300]},
        {"mask_rle": {"size": [240, 300], "counts": [100, 200, 71700]}},
    ],
)
def test_marks_of_an_image_of_another_shape_are_refused_with_both_sizes(target, tmp_path):
    with pytest.raises(InputError, match=r"bad_human_mask.*\(240, 300\).*\(120, 160\)"):
        human_label([target], None, SIZE, tmp_path)


def test_exchanged_sides_are_refused_unless_the_file_may_have_exchanged_them(tmp_path):
    target = {"polygons": [SQUARE], "size": [160, 120]}
    with pytest.raises(InputError, match=r"exchanged.*EXIF"):
        human_label([target], None, SIZE, tmp_path)
    mask = human_label([target | {"swap": True}], None, SIZE, tmp_path).mask
    assert rle.bbox(mask) == Box(20, 20, 60, 60)
    assert factors([320, 240], True, SIZE) == (0.5, 0.5)


@pytest.mark.parametrize("size", ["big", [0, 3], [1, 2, 3], [float("nan"), 3], [10**9, 10**9], [-4, 4]])
def test_a_size_that_is_none_is_refused(size, tmp_path):
    with pytest.raises(InputError, match=r"bad_human_mask.*'size'"):
        human_label([{"polygons": [SQUARE], "size": size}], None, SIZE, tmp_path)
