import base64
import io

import numpy as np
import pytest
from PIL import Image

from ivm_data.report.gallery import SIDE, WALLS, hang
from storage.catalog import Catalog

RECIPE = "3f9c0a51d2e7"


def pixels(data_uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri.split(",", 1)[1]))))


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.title)
def test_a_wall_shows_different_images_in_its_order(labeled, wall):
    with Catalog(labeled) as catalog:
        cards = hang(catalog, RECIPE, wall, 4)
        best = catalog.sql(f"SELECT sample_id FROM labels WHERE {wall.where} ORDER BY {wall.order}, sample_id LIMIT 1")
    assert [card.label["sample_id"] for card in cards[:1]] == best["sample_id"].to_pylist()
    assert len({card.label["image_sha"] for card in cards}) == len(cards) <= 4


def test_the_panels_show_the_image_and_whiten_what_is_not_kept(labeled):
    with Catalog(labeled) as catalog:
        cards = hang(catalog, RECIPE, WALLS[0], 3)
    assert cards
    for card in cards:
        image, heatmap, kept = map(pixels, card.panels)
        assert image.shape == heatmap.shape == kept.shape
        assert max(image.shape[:2]) <= SIDE
        assert kept.mean() > image.mean()
