"""Fixtures that more than one package's tests need."""

from pathlib import Path

import pytest

PHOTOS_DEV = Path(__file__).parents[2] / "shared" / "data" / "photos_dev"


@pytest.fixture(scope="session")
def photos_dev() -> Path:
    """The folder of the real development photographs; skips where the checkout has no `shared` folder beside it."""
    if not (PHOTOS_DEV / "manifest.jsonl").is_file():
        pytest.skip("no photos_dev: the checkout has no ../shared/data/photos_dev beside it")
    return PHOTOS_DEV
