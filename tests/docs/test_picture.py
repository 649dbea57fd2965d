"""The picture in docs/architecture.md is drawn from the imports of the code."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def picture():
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "site" / "picture.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_shows_the_imports_of_now(picture):
    again = "the imports have changed; draw the picture again with 'python docs/site/picture.py'"
    assert picture.PICTURE.read_text() == picture.draw(), again
    assert "(images/imports.svg)" in (ROOT / "docs" / "architecture.md").read_text()


def test_every_arrow_leads_downwards(picture):
    graph = picture.read()
    at = {box.name: box for box in picture.place(graph)[0]}
    assert set(at) == set(graph)
    arrows = [(name, to) for name, targets in picture.reduced(graph).items() for to in targets]
    assert len(arrows) > 30
    assert [(name, to) for name, to in arrows if at[to].y <= at[name].y] == []


def test_an_arrow_that_follows_from_others_is_left_out(picture):
    graph = {"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset(), "d": frozenset("ac")}
    assert picture.reduced(graph) == {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset(), "d": frozenset("a")}
