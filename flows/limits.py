"""What runs share: each GPU of a machine and the LMM endpoint. A part takes its slots before it is labeled.

A slot costs a fifth of a second, so it is taken for a part and not for a request. The server takes it back some
minutes after the run that held it was killed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prefect.concurrency.sync import concurrency

from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_model.model.placement import device_of

LMM = "ivm-lmm"
"""Limit of the parts, of all runs together, that ask an LMM endpoint at the same time."""


def gpu(number: int = 0) -> str:
    """Name of the limit of one of this machine's GPUs, by its number among those that this process sees."""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.isdigit()]
    number = int(seen[number]) if number < len(seen) else number
    return f"ivm-gpu-{socket.gethostname()}" + (f"-{number}" if number else "")


def gpus() -> list[str]:
    """Names of the limits of all GPUs of this machine; one also where it has none."""
    import torch

    return [gpu(number) for number in range(max(1, torch.cuda.device_count()))]


def wanted(recipe: Recipe) -> list[str]:
    """The limits that a part of this recipe counts against; none where all its experts run here, on the CPU."""
    specs = [recipe.rewriter, *recipe.grounders, recipe.segmenter, recipe.verifier, *recipe.proposers]
    specs += [recipe.track.tracker] if recipe.track.tracker else []
    names = [name for spec in specs for one in spec.all() for name in _asked(one)]
    return list(dict.fromkeys(names))


@contextmanager
def slots(names: Sequence[str]) -> Iterator[None]:
    """Hold a slot of each limit; wait while one is full. A limit that the server does not know limits nothing."""
    if not names:
        yield
        return
    with concurrency(list(names)):
        yield


def _asked(spec: ExpertSpec) -> Iterator[str]:
    if spec.expert == "openai":
        yield LMM
    device = device_of(str(spec.options.get("device", "cpu")))
    if device.startswith("cuda"):
        yield gpu(int(device.partition(":")[2] or 0))
