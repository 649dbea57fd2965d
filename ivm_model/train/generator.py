"""Stage II: the masking model learns from human and weighted machine labels."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from ivm_model.data.features import Batch
from ivm_model.data.feed import Feed
from ivm_model.data.order import deal, draws
from ivm_model.engine.ema import Ema, fill
from ivm_model.engine.losses import mask_loss
from ivm_model.engine.optimization import Progress, Stepper, silent
from ivm_model.engine.processes import join_processes, random_state, set_random_state
from ivm_model.model.masking_model import MaskingModel
from storage.common.validation import Checked, Count, NotNegative, Share, within
from storage.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator

AfterStep = Callable[[int, float], None]
"""Called with the steps taken in this run and the last one's loss."""


@dataclass(frozen=True)
class GeneratorConfig(Checked):
    """How the generator is trained.

    Attributes:
        steps: optimiser steps in all.
        warmup: share of the steps with uniform weights, before the discriminator speaks.
        batch: rows that a process takes at once; a step has `batch * accumulate` rows of each process.
        accumulate: batches of each process in a step.
        decoder_rate: peak learning rate of decoder and projections.
        lora_rate: peak learning rate of the LoRA.
        ema: decay of the moving average of the trained tensors that is evaluated and kept; 0 for none.
    """

    steps: Count = 600
    warmup: Share = 0.25
    batch: Count = 16
    accumulate: Count = 1
    decoder_rate: NotNegative = 1e-3
    lora_rate: NotNegative = 1e-3
    ema: Annotated[float, within("[0, 1)")] = 0.0

    @property
    def warmup_steps(self) -> int:
        """Steps with uniform weights."""
        return round(self.steps * self.warmup)


class GeneratorTrainer:
    """Minimises mean(w * (CE + Dice)) over the rows (IVM, arXiv 2405.19783, stage II); w carries no gradient.

    Args:
        accelerator: from `join_processes`; alone by default.
    """

    def __init__(
        self,
        model: MaskingModel,
        feed: Feed,
        config: GeneratorConfig,
        seed: int,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.model, self.feed, self.config, self.seed = model, feed, config, seed
        self.accelerator = accelerator or join_processes()
        self.rng = np.random.default_rng(seed)
        trained = model.trained_parameters()
        lora = [value for name, value in trained.items() if ".lora_" in name]
        decoder = [value for name, value in trained.items() if ".lora_" not in name]
        self.wrapped = self.accelerator.prepare_model(model)
        self.stepper = Stepper([(decoder, config.decoder_rate), (lora, config.lora_rate)], config.steps)
        self.ema = Ema(trained, config.ema) if config.ema else None

    def run(
        self,
        weight_N: np.ndarray,
        steps: int,
        progress: Progress = silent,
        *,
        taken: int = 0,
        after_step: AfterStep | None = None,
    ) -> list[float]:
        """Take some of the steps; rows of weight zero are never drawn.

        Args:
            weight_N: one weight for each row of the feed, >= 0.
            taken: steps of this run that were taken before the trainer was restored.

        Returns:
            The loss of each step that was taken now.

        Raises:
            ConfigError: every weight is zero, or one is NaN.
            TrainingDivergedError: the loss is not finite.
        """
        usable_K = _usable(weight_N)
        if not taken:
            self._decorrelate()
        self.model.train()
        losses: list[float] = []
        batches = self.feed.batches(self._deal(usable_K, taken, steps))
        for done in range(taken + 1, steps + 1):
            losses.append(self._step(islice(batches, self.config.accumulate), weight_N))
            if self.ema:
                self.ema.update()
            progress("generator", done, steps)
            if after_step:
                after_step(done, losses[-1])
        # A run without steps left has drawn nothing yet; the next run's order follows from what this one draws.
        deque(batches, maxlen=0)
        self.model.eval()
        return losses

    def snapshot(self) -> dict[str, Any]:
        """Everything that `run` changes, to go on from later, more than once."""
        return copy.deepcopy(
            {
                "weights": {name: value.detach() for name, value in self.model.trained_parameters().items()},
                "optimizer": self.stepper.optimizer.state_dict(),
                "schedule": self.stepper.schedule.state_dict(),
                "taken": self.stepper.taken,
                "ema": self.ema and self.ema.averages,
                "rng": self.rng.bit_generator.state,
                "torch": random_state(),
            }
        )

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        snapshot = copy.deepcopy(snapshot)
        fill(self.model.trained_parameters(), snapshot["weights"])
        self.stepper.optimizer.load_state_dict(snapshot["optimizer"])
        self.stepper.schedule.load_state_dict(snapshot["schedule"])
        self.stepper.taken = snapshot["taken"]
        if self.ema:
            fill(self.ema.averages, snapshot["ema"])
        self.rng.bit_generator.state = snapshot["rng"]
        set_random_state(snapshot["torch"])

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[MaskingModel]:
        """The model as it would be kept now: averaged where asked for, without dropout."""
        training = self.model.training
        self.model.eval()
        with self.ema.in_place() if self.ema else contextlib.nullcontext():
            yield self.model
        self.model.train(training)

    def _deal(self, usable_K: np.ndarray, taken: int, steps: int) -> Iterator[np.ndarray]:
        """This process' batches of the steps that are left."""
        world, config = self.accelerator.num_processes, self.config
        series = draws(
            lambda number: self.feed.epoch(usable_K, number, self.rng), world * config.batch * config.accumulate
        )
        for draw in islice(series, taken, steps):
            yield from deal(draw, config.batch, self.accelerator.process_index, world)

    def _decorrelate(self) -> None:
        """Processes drop out different units."""
        if self.accelerator.num_processes > 1:
            torch.manual_seed(hash((self.seed, self.stepper.taken, self.accelerator.process_index)))

    def _step(self, batches: Iterator[Batch], weight_N: np.ndarray) -> float:
        """One update; returns the mean loss over all processes."""
        total = torch.zeros((), device=self.model.device)
        for k, batch in enumerate(batches, 1):
            last = k == self.config.accumulate
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                loss = self._loss(batch, weight_N) / self.config.accumulate
                loss.backward()
            total += loss.detach()
        return self.stepper.update(self.accelerator.reduce(total, "mean"))

    def _loss(self, batch: Batch, weight_N: np.ndarray) -> torch.Tensor:
        device = self.model.device
        logits_BHW = self.wrapped(batch.encoded.to(device), batch.instructions).float()
        loss_B = mask_loss(logits_BHW, batch.target_BHW.to(device), batch.valid_BHW.to(device))
        return (torch.from_numpy(weight_N[batch.index_B]).to(device) * loss_B).mean()


def _usable(weight_N: np.ndarray) -> np.ndarray:
    """Indices of the rows that count."""
    if unknown := int(np.isnan(weight_N).sum()):
        raise ConfigError(f"{unknown} of {len(weight_N)} training rows have weight NaN; choose another weighting")
    usable_K = np.flatnonzero(weight_N > 0)
    if not len(usable_K):
        raise ConfigError("every training row has weight 0; choose another weighting, or add human masks")
    return usable_K
