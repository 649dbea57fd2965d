"""Data sets of a few parts and of several times as many: what is counted may not grow with them, or as they do."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale_parts import ManyParts, make
from storage.parts import footers

FEW, MANY = 3, 24


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> ManyParts:
    """Three committed parts of a manifest of six; tests must not change it."""
    return make(tmp_path_factory.mktemp("few"), FEW, 2 * FEW)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> ManyParts:
    """Eight times as many."""
    return make(tmp_path_factory.mktemp("many"), MANY, 2 * MANY)


@pytest.fixture
def copy(many: ManyParts, tmp_path: Path) -> ManyParts:
    """The same to change, an hour old."""
    data = shutil.copytree(many.data, tmp_path / "data", ignore=shutil.ignore_patterns(footers.NAME))
    for path in data.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return replace(many, data=data)
