"""The embedded experts by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ivm_data.config import override
from storage.errors import ConfigError

WEIGHTS = Path(__file__).parent / "weights"
NAMES = ("grounder", "segmenter", "lmm")


def train(
    name: str, out: Path, changes: Mapping[str, Any] | None = None, log: Callable[[str], None] = print
) -> dict[str, float]:
    """Train an expert from nothing and write its checkpoint and model card; returns the held-out scores.

    Raises:
        ConfigError: an unknown name, or a field that its `TrainConfig` does not have.
    """
    if name not in NAMES:
        raise ConfigError(f"no embedded expert {name!r}; choose one of {', '.join(NAMES)}")
    trainer = import_module(f"ivm_data.zoo.{name}")
    return trainer.train(out, override(trainer.TrainConfig(), changes or {}), log)
