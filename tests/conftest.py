"""Fixtures that more than one package's tests need."""

import gc
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TINY = Path(__file__).parent / "ivm_data" / "experts" / "tiny" / "__init__.py"
WATCHED = Path(__file__).parent / "scale" / "watched.py"
PHOTOS_DEV = Path(__file__).parents[2] / "shared" / "data" / "photos_dev"

gc.disable()  # Collecting only adds: modules and tests stay to the end.


def pytest_collection_finish() -> None:
    """Leave modules and collected tests out of every later garbage collection, which then takes a tenth of the time."""
    gc.enable()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter take down what was left out."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests come first, so that processes end together; most of their time is waiting for other processes."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def photos_dev() -> Path:
    """The folder of the real development photographs; skips where the checkout has no `shared` folder beside it."""
    if not (PHOTOS_DEV / "manifest.jsonl").is_file():
        pytest.skip("no photos_dev: the checkout has no ../shared/data/photos_dev beside it")
    return PHOTOS_DEV


@pytest.fixture(scope="session")
def lerobot_g1() -> Path:
    """The folder of three real robot episodes; skips where the checkout has no `shared` folder beside it."""
    folder = PHOTOS_DEV.with_name("lerobot_g1")
    if not (folder / "meta" / "info.json").is_file():
        pytest.skip("no robot episodes: the checkout has no ../shared/data/lerobot_g1 beside it")
    return folder


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The package that saves every expert's checkpoint in miniature: tests have no packages to import it from."""
    spec = importlib.util.spec_from_file_location("tiny_experts", TINY)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_experts"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def with_everything() -> Any:
    """The demo's recipe with `everything` as second proposer: an expert that is made of others."""
    from ivm_data.experts.registry import ExpertSpec
    from ivm_data.recipes.labeling_recipes import recipe

    demo = recipe("demo")
    parts = {"segmenter": demo.segmenter, "verifier": demo.verifier}
    return replace(demo, proposers=(ExpertSpec("everything", uses=parts),))


@pytest.fixture(scope="session")
def watched() -> Callable[[Path], AbstractContextManager[Any]]:
    """The function of `tests/scale/watched.py`: what is opened below a folder."""
    spec = importlib.util.spec_from_file_location("watched", WATCHED)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Path], AbstractContextManager[Any]] = module.watched
    return found
