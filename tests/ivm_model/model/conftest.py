"""The release in miniature: tests have no packages to import it from, so they import `released_model` by that name."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ivm_model.model import paper
from ivm_model.model.masking_model import ModelConfig

_SPEC = importlib.util.spec_from_file_location("released_model", Path(__file__).with_name("released_model.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["released_model"] = _MODULE
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture(scope="module")
def release(bases) -> Any:
    """A `released_model.Release`."""
    torch.manual_seed(1)
    return _MODULE.Release(bases).eval()


@pytest.fixture
def config(bases) -> ModelConfig:
    """The paper's model over the tiny base models."""
    return paper.model_config(bases.sam, bases.lmm)


@pytest.fixture
def write(tmp_path) -> Callable[[Any], Path]:
    """Writes tensors to a file of the release's name."""

    def run(tensors) -> Path:
        torch.save(tensors, tmp_path / "IVM-V1.0.bin")
        return tmp_path / "IVM-V1.0.bin"

    return run
