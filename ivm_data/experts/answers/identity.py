"""What tells an expert's answers from those of every other one: its weights, its options, and what computes them."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ivm_model.model
from ivm_data.experts.common.checkpoint_expert import placed

_LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pillow", "opencv-python")
"""Another version of one of these may compute other last digits."""


def identity(spec: Mapping[str, Any], expert: Any) -> str:
    """16 hex digits over all that decides an expert's answers, the code of the experts too.

    Of a model in this process that is also the machine: its device, the CPU's kind and threads, and the libraries. What
    is behind an endpoint says itself what decides, as `answer_options`.

    Args:
        spec: the expert as a recipe names it, with those that it is made of.
        expert: made, not loaded.
    """
    options = getattr(expert, "answer_options", None)
    decides = [spec, _here(expert.config)] if options is None else [spec["expert"], options]
    text = json.dumps([expert.name, _code(inspect.getfile(type(expert))), decides], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@cache
def _code(module: str) -> str:
    """Hash of the source of the experts' and the models' packages, and of the module that the expert lies in."""
    folders = Path(__file__).parents[1], Path(ivm_model.model.__path__[0]).parent
    files = {path for folder in folders for path in folder.rglob("*.py")} | {Path(module)}
    digest = hashlib.blake2b(digest_size=16)
    for content in sorted(path.read_bytes() for path in files):
        digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()


def _here(config: Any) -> dict[str, Any]:
    """What this machine computes with."""
    import torch

    if not hasattr(config, "device"):
        return {}
    config = placed(config)
    machine: dict[str, Any] = {"device": config.device, "dtype": getattr(config, "dtype", "")}
    if torch.device(config.device).type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(config.device) if torch.cuda.is_available() else ""
    else:
        machine |= {"cpu": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
    return machine | {name: _version(name) for name in _LIBRARIES}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
