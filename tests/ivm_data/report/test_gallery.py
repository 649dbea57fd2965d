import base64
import io

import numpy as np
import pytest
from PIL import Image

from ivm_data.report.gallery import SECTIONS, SIDE, thumbnails
from storage.catalog import Catalog

RECIPE = "3f9c0a51d2e7"


def pixels(data_uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri.split(",", 1)[1]))))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_a_section_shows_different_images_in_its_order(labeled, section):
    with Catalog(labeled) as catalog:
        (shown,) = thumbnails(catalog, RECIPE, [section], 4)
        first = f"{section.where} ORDER BY {section.order}, sample_id LIMIT 1"
        best = catalog.sql(f"SELECT sample_id FROM labels WHERE {first}")
    assert [thumbnail.label["sample_id"] for thumbnail in shown[:1]] == best["sample_id"].to_pylist()
    assert len({thumbnail.label["image_sha"] for thumbnail in shown}) == len(shown) <= 4


def test_the_panels_show_the_image_and_whiten_what_is_not_kept(labeled):
    with Catalog(labeled) as catalog:
        shown, _ = thumbnails(catalog, RECIPE, SECTIONS[:2], 3)
    assert shown
    for thumbnail in shown:
        image, heatmap, kept = map(pixels, thumbnail.panels)
        assert image.shape == heatmap.shape == kept.shape
        assert max(image.shape[:2]) <= SIDE
        assert kept.mean() > image.mean()
