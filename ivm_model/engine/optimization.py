"""What both training stages share: AdamW with a cosine schedule, clipped steps, and an error instead of NaN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import nn

from storage.errors import IvmError


class Progress(Protocol):
    """Called after each piece of work."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` pieces of `stage` are finished."""
        ...


class TrainingDivergedError(IvmError):
    """A loss or gradient became NaN or infinite."""


class Stepper:
    """One optimiser over groups of parameters with their own peak learning rates.

    Args:
        groups: (parameters, peak learning rate).
        steps: length of the cosine schedule.
        warmup: share of the steps that the rate rises.
        clip: greatest norm of the whole gradient.
    """

    def __init__(
        self,
        groups: Iterable[tuple[Iterable[nn.Parameter], float]],
        steps: int,
        warmup: float = 0.05,
        clip: float = 1.0,
        weight_decay: float = 0.01,
    ) -> None:
        from transformers import get_scheduler

        self.groups = [(list(parameters), rate) for parameters, rate in groups]
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for parameters, rate in self.groups], weight_decay=weight_decay
        )
        self.schedule = get_scheduler("cosine", self.optimizer, round(warmup * steps), steps)
        self.clip = clip
        self.taken = 0

    def step(self, loss: torch.Tensor) -> float:
        """Backward and update; returns the loss.

        Raises:
            TrainingDivergedError: the loss or a gradient is not finite; nothing was updated.
        """
        loss.backward()
        return self.update(loss.detach())

    def update(self, loss: torch.Tensor) -> float:
        """Update by the gradients that `backward` left; returns the loss, which the gradients are of.

        Raises:
            TrainingDivergedError: the loss or a gradient is not finite; nothing was updated.
        """
        norm = nn.utils.clip_grad_norm_([p for parameters, _ in self.groups for p in parameters], self.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingDivergedError(
                f"loss {loss.item()} and gradient norm {norm.item()} at step {self.taken}; "
                f"lower the learning rates, now {[rate for _, rate in self.groups]}, or look for broken labels"
            )
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1
        return loss.item()


def silent(stage: str, done: int, total: int) -> None:
    """The progress callback that says nothing."""
