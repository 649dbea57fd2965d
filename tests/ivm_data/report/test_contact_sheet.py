import numpy as np
import pytest

from ivm_data.report.contact_sheet import CAPTION, COLUMNS, SIDE, contact_sheet, draw
from ivm_data.report.gallery import Thumbnail
from storage.catalog import Catalog

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def thumbnail(height=40, width=60):
    images = tuple(np.full((height, width, 3), colour, np.uint8) for colour in (RED, GREEN, BLUE))
    return Thumbnail({"status": "accepted", "instruction": "Find the röd ring."}, images)


def test_a_label_shows_its_image_its_heatmap_and_what_is_kept_in_a_row():
    sheet_HWC = draw([thumbnail()])
    middle = CAPTION + SIDE // 2
    assert [tuple(sheet_HWC[middle, SIDE // 2 + i * SIDE]) for i in range(3)] == [RED, GREEN, BLUE]
    assert sheet_HWC[:CAPTION].min() < 128, "the caption is written in dark letters"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_labels_of_any_number_and_shape_fit(count):
    sheet_HWC = draw([thumbnail(height=200, width=1 + 300 * i) for i in range(count)])
    rows = -(-count // COLUMNS)
    assert sheet_HWC.shape == (rows * (SIDE + CAPTION), COLUMNS * 3 * SIDE, 3)


def test_the_same_data_set_gives_the_same_picture(labeled):
    with Catalog(labeled) as catalog:
        (recipe, *_) = catalog.sql("select recipe from labels order by all")["recipe"].to_pylist()
        first, again = contact_sheet(catalog, recipe), contact_sheet(catalog, recipe)
    assert np.array_equal(first, again)


def test_there_is_no_picture_without_labels(labeled):
    with Catalog(labeled) as catalog:
        assert contact_sheet(catalog, "no-such-recipe") is None
