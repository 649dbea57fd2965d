"""Stage II: the masking model learns from human and weighted machine labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ivm_model.features import Features
from ivm_model.losses import mask_loss
from ivm_model.model import MaskingModel
from ivm_model.optimization import Progress, Stepper, silent
from storage.errors import ConfigError


@dataclass(frozen=True)
class GeneratorConfig:
    """How the generator is trained.

    Attributes:
        steps: optimiser steps in all.
        warmup: share of the steps with uniform weights, before the discriminator speaks.
        batch: rows in a step.
        decoder_rate: peak learning rate of decoder and projections.
        lora_rate: peak learning rate of the LoRA.
    """

    steps: int = 600
    warmup: float = 0.25
    batch: int = 16
    decoder_rate: float = 1e-3
    lora_rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ConfigError(f"'steps' and 'batch' must be at least 1, got {self.steps} and {self.batch}")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"'warmup' must lie in [0, 1], got {self.warmup}")

    @property
    def warmup_steps(self) -> int:
        """Steps with uniform weights."""
        return round(self.steps * self.warmup)


class GeneratorTrainer:
    """Minimises mean(w * (CE + Dice)) over the rows (IVM, arXiv 2405.19783, stage II); w carries no gradient."""

    def __init__(self, model: MaskingModel, features: Features, config: GeneratorConfig, seed: int) -> None:
        self.model, self.features, self.config = model, features, config
        self.rng = np.random.default_rng(seed)
        trained = model.trained_parameters()
        lora = [value for name, value in trained.items() if ".lora_" in name]
        decoder = [value for name, value in trained.items() if ".lora_" not in name]
        self.stepper = Stepper([(decoder, config.decoder_rate), (lora, config.lora_rate)], config.steps)
        self._queue = np.zeros(0, np.int64)

    def run(self, weight_N: np.ndarray, steps: int, progress: Progress = silent) -> list[float]:
        """Take some of the steps; rows of weight zero are never drawn.

        Args:
            weight_N: one weight for each row of the features, >= 0.

        Returns:
            The loss of each step.

        Raises:
            ConfigError: every weight is zero.
            TrainingDivergedError: the loss is not finite.
        """
        usable = np.flatnonzero(weight_N > 0)
        if not len(usable):
            raise ConfigError("every training row has weight 0; choose another weighting, or add human masks")
        self._queue = np.zeros(0, np.int64)
        self.model.train()
        losses = []
        for done in range(1, steps + 1):
            losses.append(self._step(self._draw(usable), weight_N))
            progress("generator", done, steps)
        self.model.eval()
        return losses

    def snapshot(self) -> dict[str, Any]:
        """Everything that `run` changes, to go on from later, more than once."""
        return copy.deepcopy(
            {
                "weights": {name: value.detach() for name, value in self.model.trained_parameters().items()},
                "optimizer": self.stepper.optimizer.state_dict(),
                "schedule": self.stepper.schedule.state_dict(),
                "rng": self.rng.bit_generator.state,
                "torch": torch.get_rng_state(),
            }
        )

    @torch.no_grad()
    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        snapshot = copy.deepcopy(snapshot)
        for name, value in self.model.trained_parameters().items():
            value.copy_(snapshot["weights"][name])
        self.stepper.optimizer.load_state_dict(snapshot["optimizer"])
        self.stepper.schedule.load_state_dict(snapshot["schedule"])
        self.rng.bit_generator.state = snapshot["rng"]
        torch.set_rng_state(snapshot["torch"])

    def _draw(self, usable: np.ndarray) -> np.ndarray:
        """The next batch of an endless series of shuffled epochs."""
        while len(self._queue) < self.config.batch:
            self._queue = np.concatenate([self._queue, self.rng.permutation(usable)])
        drawn, self._queue = np.split(self._queue, [self.config.batch])
        return drawn

    def _step(self, index_B: np.ndarray, weight_N: np.ndarray) -> float:
        batch = self.features.batch(index_B)
        logits_BHW = self.model(batch.encoded, batch.instructions)
        loss_B = mask_loss(logits_BHW, batch.target_BHW, batch.valid_BHW)
        return self.stepper.step((torch.from_numpy(weight_N[index_B]) * loss_B).mean())
