"""Data sets of a few parts and of several times as many: what is counted may not grow with them, or as they do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def watched() -> Callable[[Path], AbstractContextManager[Any]]:
    """The function of `tests/scale/watched.py`: what is opened below a folder."""
    spec = importlib.util.spec_from_file_location("watched", Path(__file__).with_name("watched.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Path], AbstractContextManager[Any]] = module.watched
    return found
