"""The builders as a fixture: tests have no packages to import them from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from storage.parts.shards import commit_part, write_reviews, write_weights
from storage.tables.recipes import write_recipe


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The module `tests/storage/builders.py`."""
    spec = importlib.util.spec_from_file_location("storage_builders", Path(__file__).with_name("builders.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def parts(build):
    """Two parts of one recipe: 60 outcomes, 48 of them labels."""
    return [build.make_part("part-00000", 40), build.make_part("part-00001", 20, seed=40)]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory, build, parts) -> Path:
    """A data set with every kind of file; tests must not change it."""
    data = tmp_path_factory.mktemp("small")
    for part in parts:
        commit_part(data, part)
        write_weights(data, "lmm-head@77aa", part.part, build.make_weights(part))
        write_reviews(data, "ada", part.part, build.make_reviews(part))
    write_recipe(data, build.RECIPE, {"gate": {"accept": 0.9}})
    return data
