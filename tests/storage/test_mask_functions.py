import numpy as np
import pytest

from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import Label


@pytest.fixture(scope="module")
def catalog(small_data):
    with Catalog(small_data) as opened:
        yield opened


def test_sql_sees_areas_boxes_and_overlaps_as_the_library_does(catalog, parts):
    rows = catalog.sql("""
        SELECT sample_id, rle_area(mask, height, width) AS area, rle_bbox(mask, height, width) AS box,
            rle_iou(mask, human_mask, height, width) AS iou
        FROM masks""").to_pylist()
    found = {row["sample_id"]: row for row in rows}
    labels = [outcome for part in parts for outcome in part.outcomes if isinstance(outcome, Label)]
    for label in labels:
        row, box = found[label.sample.id], rle.bbox(label.mask)
        human = label.sample.human_mask
        assert row["area"] == rle.area(label.mask)
        assert row["box"] == {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}
        assert row["iou"] == (None if human is None else pytest.approx(rle.iou(label.mask, human)))


def test_an_empty_mask_has_no_box_and_two_of_them_agree(catalog):
    empty = rle.encode(np.zeros((10, 10), bool)).counts
    (row,) = catalog.sql(
        """
        SELECT rle_area($mask, 10, 10) AS area, rle_bbox($mask, 10, 10) AS box,
            rle_iou($mask, $mask, 10, 10) AS iou, rle_area(NULL, 10, 10) AS nothing""",
        mask=empty,
    ).to_pylist()
    assert row == {"area": 0, "box": None, "iou": 1.0, "nothing": None}


def test_bytes_that_are_no_mask_are_reported(catalog):
    with pytest.raises(ConfigError, match="Invalid RLE"):
        catalog.sql("SELECT rle_area('zzz'::BLOB, 3, 3)")
