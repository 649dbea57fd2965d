import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from ivm_data.exports.outlines import join, polygons
from storage.pixels import rle

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())


def filled(outlines, shape):
    runs = coco_mask.frPyObjects([outline.ravel().tolist() for outline in outlines], *map(int, shape))
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_pycocotools_fills_the_polygons_of_any_mask_to_that_mask(mask_HW):
    outlines = polygons(rle.encode(mask_HW))
    components = cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=4)[0] - 1
    assert len(outlines) == components
    if components:
        assert (filled(outlines, mask_HW.shape) == mask_HW).all()
        assert (filled([join(outlines)], mask_HW.shape) == mask_HW).all()


def test_a_tolerance_leaves_out_vertices_and_keeps_the_shape():
    y, x = np.mgrid[:200, :200]
    disc_HW = np.hypot(y - 100, x - 100) < 80
    exact, coarse = polygons(rle.encode(disc_HW)), polygons(rle.encode(disc_HW), 1.0)
    assert len(coarse[0]) * 5 < len(exact[0])
    both = filled(coarse, disc_HW.shape)
    assert (both & disc_HW).sum() / (both | disc_HW).sum() > 0.97


def test_a_hole_is_reached_by_a_cut_and_stays_a_hole():
    ring_HW = np.ones((9, 9), bool)
    ring_HW[3:6, 3:6] = False
    (outline,) = polygons(rle.encode(ring_HW))
    assert len(outline) == 4 + 4 + 2
    assert not filled([outline], ring_HW.shape)[4, 4]
