"""The labeler without experts as a fixture: tests have no packages to import it from."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def labelers() -> ModuleType:
    """The module `tests/ivm_data/engine/labelers.py`."""
    spec = importlib.util.spec_from_file_location("labelers", Path(__file__).with_name("labelers.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["labelers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path, labelers) -> Path:
    """A folder of eight images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    labelers.write_images(folder, 8)
    return folder


@pytest.fixture
def labeler(tmp_path, labelers):
    """Labels into a new folder."""
    return labelers.Labeler(tmp_path / "data")


@pytest.fixture
def records(labelers) -> list[str]:
    """The records of ten pairs."""
    return labelers.lines(*labelers.PAIRS)


@pytest.fixture
def labeled(photos, labelers, labeler, records) -> Path:
    """A manifest of ten pairs, which `labeler` has labeled in parts of three."""
    manifest = labelers.write_manifest(photos, records)
    assert labeler.label(manifest) == 10
    return manifest
