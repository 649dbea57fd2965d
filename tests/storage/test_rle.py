import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from pycocotools import mask as coco

from storage.errors import InputError
from storage.pixels import rle
from storage.records import Box, Rle

SHAPES = st_np.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
MASKS = SHAPES.flatmap(lambda shape: st_np.arrays(bool, shape))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(st_np.arrays(bool, shape), st_np.arrays(bool, shape)))
quick = settings(max_examples=25, deadline=None)


def by_coco(mask_HW):
    return coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))


@quick
@given(MASKS)
def test_the_bytes_are_those_of_pycocotools(mask_HW):
    encoded = rle.encode(mask_HW)
    assert encoded.counts == by_coco(mask_HW)["counts"]
    assert [encoded.height, encoded.width] == by_coco(mask_HW)["size"]


@quick
@given(MASKS)
def test_decoding_gives_the_mask_back(mask_HW):
    decoded_HW = rle.decode(rle.encode(mask_HW))
    assert decoded_HW.dtype == bool and decoded_HW.flags.c_contiguous
    np.testing.assert_array_equal(decoded_HW, mask_HW)


@quick
@given(MASKS)
def test_area_and_box_agree_with_pycocotools(mask_HW):
    encoded, theirs = rle.encode(mask_HW), by_coco(mask_HW)
    assert rle.area(encoded) == int(coco.area(theirs))
    box = rle.bbox(encoded)
    if not mask_HW.any():
        assert box is None
    else:
        x, y, width, height = coco.toBbox(theirs)
        assert box == Box(x, y, x + width, y + height)


@quick
@given(PAIRS)
def test_iou_and_union_agree_with_pycocotools(pair):
    a, b = (rle.encode(mask_HW) for mask_HW in pair)
    expected = float(coco.iou([by_coco(pair[0])], [by_coco(pair[1])], [0])[0, 0])
    assert rle.iou(a, b) == pytest.approx(expected if pair[0].any() or pair[1].any() else 1.0)
    assert rle.union([a, b]).counts == coco.merge([by_coco(pair[0]), by_coco(pair[1])])["counts"]


@quick
@given(PAIRS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_vote_is_the_weighted_mean_of_the_masks(pair, v, w):
    heatmap_HW = rle.vote([rle.encode(mask_HW) for mask_HW in pair], [v, w])
    assert heatmap_HW.dtype == np.float32
    np.testing.assert_allclose(heatmap_HW, (v * pair[0] + w * pair[1]) / (v + w), rtol=1e-6)
    assert (heatmap_HW[pair[0] & pair[1]] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1080, 1920)])
@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks_survive(shape, value):
    encoded = rle.encode(np.full(shape, value))
    assert rle.area(encoded) == shape[0] * shape[1] * value
    assert rle.decode(encoded).shape == shape


def test_a_single_pixel_has_a_box_of_one_pixel():
    mask_HW = np.zeros((5, 9), dtype=bool)
    mask_HW[2, 7] = True
    assert rle.bbox(rle.encode(mask_HW)) == Box(7, 2, 8, 3)


def test_empty_masks_agree_and_empty_against_full_does_not():
    empty, full = rle.encode(np.zeros((4, 6), bool)), rle.encode(np.ones((4, 6), bool))
    assert rle.iou(empty, empty) == 1
    assert rle.iou(empty, full) == 0


def test_more_than_255_masks_can_be_united():
    rows = np.eye(300, dtype=bool)
    united = rle.union([rle.encode(np.repeat(row[:, None], 2, axis=1)) for row in rows])
    assert rle.area(united) == 600


def test_a_vote_without_weight_says_nothing():
    full = rle.encode(np.ones((3, 3), bool))
    assert (rle.vote([full], [0.0]) == 0).all()


def test_masks_that_do_not_fit_together_are_refused():
    a, b = rle.encode(np.ones((3, 3), bool)), rle.encode(np.ones((4, 4), bool))
    for call in (lambda: rle.iou(a, b), lambda: rle.union([a, b]), lambda: rle.vote([a, b], [1, 1])):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError, match="at least one"):
        rle.union([])
    with pytest.raises(ValueError, match="one weight for each"):
        rle.vote([a], [1, 2])


@quick
@given(MASKS)
def test_every_form_of_coco_counts_is_read(mask_HW):
    theirs = by_coco(mask_HW)
    expected = Rle(*mask_HW.shape, theirs["counts"])
    flat = mask_HW.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    assert rle.from_counts(theirs["size"], theirs["counts"]) == expected
    assert rle.from_counts(theirs["size"], theirs["counts"].decode()) == expected
    assert rle.from_counts(theirs["size"], runs) == expected


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([3, 3], [4, 4]),
        ([3, 3], [4, 6]),
        ([3, 3], [-1, 10]),
        ([3, 3], []),
        ([3, 3], "5"),
        ([3, 3], b"\xff\xff"),
        ([3, 3], "é"),
        ([3, 3], None),
        ([3, 3], [[9]]),
        ([3], [9]),
        ([0, 3], []),
        ([-3, -3], [9]),
        (["a", 3], [9]),
    ],
)
def test_counts_that_do_not_cover_the_size_are_a_bad_human_mask(size, counts):
    with pytest.raises(InputError) as caught:
        rle.from_counts(size, counts)
    assert caught.value.reason == "bad_human_mask"
    assert str(size) in caught.value.detail


@quick
@given(SHAPES, st.lists(st.tuples(*[st.integers(-80, 160)] * 2), min_size=3, max_size=8), st.sampled_from([1, 2, 4]))
def test_polygons_are_filled_as_pycocotools_fills_them(size, corners, divisor):
    height, width = size
    corner_N2 = np.clip(np.array(corners) / divisor, (-width, -height), (2 * width, 2 * height))
    theirs = coco.merge(coco.frPyObjects([corner_N2.ravel().tolist()], height, width))
    assert rle.from_polygon(corner_N2, size) == Rle(height, width, theirs["counts"])


@pytest.mark.parametrize(
    ("point_N2", "said"),
    [
        ([[0, 0], [4, 4]], "3 points"),
        ([0, 0, 4, 4, 0, 4], "3 points"),
        ([[0, 0], [4, 4], [0, 1e12]], "leaves an image"),
        ([[0, 0], [4, 4], [0, np.inf]], "leaves an image"),
        ([[0, 0], [4, 4], [0, np.nan]], "leaves an image"),
        ([[0, 0], [90, 90]] * 6_000, "at most 1000000"),
    ],
)
def test_a_polygon_that_the_library_could_not_stand_is_a_bad_human_mask(point_N2, said):
    with pytest.raises(InputError, match=said) as caught:
        rle.from_polygon(np.array(point_N2), (100, 100))
    assert caught.value.reason == "bad_human_mask"
