"""What runs share: the GPU of a machine and the LMM endpoint. A part takes its slots before it is labeled.

A slot costs a fifth of a second, so it is taken for a part and not for a request. The server takes it back some
minutes after the run that held it was killed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prefect.concurrency.sync import concurrency

from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_model.model.placement import device_of

LMM = "ivm-lmm"
"""Limit of the parts, of all runs together, that ask an LMM endpoint at the same time."""


def gpu() -> str:
    """Name of the limit of this machine's GPU."""
    return f"ivm-gpu-{socket.gethostname()}"


def wanted(recipe: Recipe) -> list[str]:
    """The limits that a part of this recipe counts against; none where all its experts run here, on the CPU."""
    specs = [recipe.rewriter, *recipe.grounders, recipe.segmenter, recipe.verifier, *recipe.proposers]
    names = [name for spec in specs for name in _asked(spec)]
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
    if device_of(str(spec.options.get("device", "cpu"))).startswith("cuda"):
        yield gpu()
    for part in spec.uses.values():
        yield from _asked(part)
