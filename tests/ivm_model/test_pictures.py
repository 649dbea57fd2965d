"""The pictures in docs/dwsl.md are drawn from names that the code has."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import ivm_model
from ivm_model.discriminator.network import Discriminator
from ivm_model.masking import Masked
from ivm_model.model.lmm import Reading
from ivm_model.train.generator import GeneratorTrainer

PAGE = (Path(__file__).parents[2] / "docs" / "dwsl.md").read_text()
PICTURES = re.findall(r"^```mermaid\n(.*?)^```$", PAGE, re.M | re.S)
NAME = re.compile(r"\b[A-Za-z_]+\.[A-Za-z_]+\b")


def module(name: str) -> ModuleType:
    """The one module of that name in any room of the package."""
    names = [each.name for each in pkgutil.walk_packages(ivm_model.__path__, "ivm_model.")]
    (found,) = [each for each in names if each.endswith(f".{name}")]
    return importlib.import_module(found)


@pytest.fixture
def made(model) -> dict[str, object]:
    """What a picture's name may begin with beside a module: a class, or one of it where its parts are made at start."""
    instances = {"MaskingModel": model, "PromptedDecoder": model.decoder, "Lmm": model.lmm}
    classes = (GeneratorTrainer, Discriminator, Reading, Masked)
    return instances | {each.__name__: each for each in classes}


@pytest.mark.parametrize("picture", PICTURES, ids=["training", "inference"])
def test_every_dotted_name_of_a_picture_is_in_the_code(picture, made):
    names = set(NAME.findall(picture))
    assert len(names) >= 9
    for name in names:
        first, attribute = name.split(".")
        owner = made[first] if first in made else module(first)
        assert hasattr(owner, attribute) or attribute in owner.__annotations__, name


@pytest.mark.parametrize("picture", PICTURES, ids=["training", "inference"])
def test_every_arrow_of_a_picture_leads_to_a_node_that_has_a_label(picture):
    labelled = set(re.findall(r"\b(\w+)\s?\[", picture))
    ends = set()
    for line in picture.splitlines():
        if "-->" in line:
            bare = re.sub(r'\["[^"]*"\]|\[[^]]*\]|\|"[^"]*"\|', "", line)
            ends |= set(re.findall(r"\w+", bare))
    assert ends and ends <= labelled
