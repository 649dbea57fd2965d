"""Training on the embedded base models: the one place that knows where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivm_data.config import override
from ivm_data.experts.registry import embedded
from ivm_model.trainer import TrainConfig


def train_config(data: Path, out: Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """A whole training configuration with dotted fields replaced, for example `{"generator.steps": 300}`.

    Raises:
        ConfigError: an unknown field or a value it does not take.
    """
    config = TrainConfig(data, out, sam=embedded("zoo:segmenter"), lmm=embedded("zoo:lmm"))
    return override(config, changes or {})
