import numpy as np
import pytest

from storage.pixels.overlap import box_iou, is_right
from storage.records import Box


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (Box(0, 0, 4, 4), 1.0),
        (Box(2, 0, 6, 4), 1 / 3),
        (Box(4, 0, 8, 4), 0.0),
        (Box(9, 9, 12, 12), 0.0),
        (Box(4, 4, 0, 0), 0.0),
    ],
)
def test_boxes_overlap_by_what_they_share_over_what_either_covers(other, iou):
    box = Box(0, 0, 4, 4)
    assert box_iou(box, other) == box_iou(other, box) == pytest.approx(iou)


def test_two_empty_boxes_overlap_by_nothing():
    assert box_iou(Box(1, 1, 1, 1), Box(1, 1, 1, 1)) == 0.0


def test_an_overlap_of_a_half_is_right_and_an_unknown_one_is_not():
    assert is_right(0.5) and not is_right(0.4999) and not is_right(float("nan"))
    assert is_right(np.array([0.2, 0.5])).tolist() == [False, True]
