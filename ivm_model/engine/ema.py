"""A moving average of the trained tensors: steadier than the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """average = decay * average + (1 - decay) * value after each step, of trained tensors only.

    Args:
        decay: in (0, 1).
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], decay: float) -> None:
        self._parameters = parameters
        self._average = get_ema_multi_avg_fn(decay)
        self.averages = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the tensors as they are now into the average."""
        self._average(list(self.averages.values()), list(self._parameters.values()), None)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages take the trained tensors' place for a while."""
        trained = {name: value.detach().clone() for name, value in self._parameters.items()}
        fill(self._parameters, self.averages)
        try:
            yield
        finally:
            fill(self._parameters, trained)


@torch.no_grad()
def fill(parameters: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into parameters of the same names."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
