"""Training on the embedded base models: the one place that knows where they lie and what they are used to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivm_data.config import override
from ivm_data.experts import prompts
from ivm_data.experts.registry import embedded
from ivm_model.discriminator import DiscriminatorConfig
from ivm_model.trainer import TrainConfig


def train_config(data: Path, out: Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """A whole training configuration with dotted fields replaced, for example `{"generator.steps": 300}`.

    The discriminator asks what the verifier asks: its LMM was trained on that question, about images faded like that.

    Raises:
        ConfigError: an unknown field or a value it does not take.
    """
    config = TrainConfig(
        data,
        out,
        sam=embedded("zoo:segmenter"),
        lmm=embedded("zoo:lmm"),
        discriminator=DiscriminatorConfig(question=prompts.VERIFY, dim=prompts.VERIFY_DIM),
    )
    return override(config, changes or {})
