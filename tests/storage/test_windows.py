import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.pixels.windows import Window, around, tiles
from storage.records import Box


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(8, 120), st.floats(0, 0.8))
def test_tiles_cover_every_pixel_and_a_short_thing_lies_whole_in_one(height, width, side, overlap):
    found = tiles((height, width), side, overlap)
    seen_HW = np.zeros((height, width), bool)
    for one in found:
        assert 0 <= one.x0 < one.x1 <= width and 0 <= one.y0 < one.y1 <= height
        assert one.x1 - one.x0 == min(side, width) and one.y1 - one.y0 == min(side, height)
        seen_HW[one.slices] = True
    assert seen_HW.all()
    longest = int(side * overlap) - 1
    for x in range(0, max(1, width - longest), 7):
        assert any(one.x0 <= x and x + min(longest, width - x) <= one.x1 for one in found)


def test_a_picture_of_one_tile_is_that_tile():
    assert tiles((100, 128), 128, 0.25) == [Window(0, 0, 128, 100)]


def test_an_edge_of_a_part_cuts_and_an_edge_of_the_picture_does_not():
    part, size = Window(0, 50, 100, 150), (200, 300)
    assert not part.cuts(Box(0, 60, 40, 90), size)
    assert part.cuts(Box(70, 60, 100, 90), size) and part.cuts(Box(10, 50, 40, 90), size)


@pytest.mark.parametrize("side", [100, 128])
def test_every_box_has_a_square_of_its_own_or_shares_one_and_neighbours_share(side):
    boxes = [Box(10, 10, 30, 30), Box(35, 12, 50, 40), Box(900, 900, 910, 912), Box(300, 300, 700, 500)]
    found = around(boxes, (1000, 1000), side)
    assert sorted(i for _, rows in found for i in rows) == [0, 1, 2, 3]
    assert next(rows for _, rows in found) == [0, 1]
    for window, rows in found:
        assert min(window.x1 - window.x0, window.y1 - window.y0) >= side
        for i in rows:
            assert not window.cuts(boxes[i], (1000, 1000))
    assert found[-1][0].x1 - found[-1][0].x0 == 800
