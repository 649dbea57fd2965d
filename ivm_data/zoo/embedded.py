"""The embedded experts by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ivm_data.config import override
from storage.errors import ConfigError

WEIGHTS = Path(__file__).parent / "weights"
_TRAININGS = {"grounder": "GrounderTraining", "segmenter": "SegmenterTraining", "lmm": "LmmTraining"}
"""Name -> the config class of its training, in the module of that name."""
NAMES = tuple(_TRAININGS)


def train(
    name: str, out: Path, changes: Mapping[str, Any] | None = None, log: Callable[[str], None] = print
) -> dict[str, float]:
    """Train an expert from nothing and write its checkpoint and model card; returns the held-out scores.

    Raises:
        ConfigError: an unknown name, or a field that its training's config does not have.
    """
    if name not in NAMES:
        raise ConfigError(f"no embedded expert {name!r}; choose one of {', '.join(NAMES)}")
    trainer = import_module(f"ivm_data.zoo.training.{name}")
    scores: dict[str, float] = trainer.train(out, override(getattr(trainer, _TRAININGS[name])(), changes or {}), log)
    return scores
