"""The processes that train together, and how SIGTERM ends them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch

from storage.common.validation import Checked, Count, Natural, within
from storage.errors import IvmError

if TYPE_CHECKING:
    from accelerate import Accelerator

TIMEOUT = timedelta(hours=12)
"""How long a process waits for the others: one may still encode while another is done."""


@dataclass(frozen=True)
class RunConfig(Checked):
    """How a training runs; of these only `precision` and `evaluate_every` change what it learns.

    Attributes:
        precision: "no" is float32, "bf16" computes in bfloat16 where autocast allows it, SAM's encoder too.
        gradient_checkpointing: forget the LMM's activations and compute them again: less memory, a third more time.
        shard: split the frozen language model over the processes, see `ivm_model.engine.frozen_sharding`.
        save_every: steps between two states that a killed training goes on from.
        evaluate_every: steps between two scores on the validation rows, the best of which is kept; 0 for none.
        validation_share: share of the images with human masks that only validate, where `evaluate_every` is set.
        validation_rows: most rows that validate; they are kept in memory.
        tensorboard: write scalars to `tb` in the checkpoint's folder.
    """

    precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False
    shard: bool = False
    save_every: Count = 100
    evaluate_every: Natural = 0
    validation_share: Annotated[float, within("(0, 1)")] = 0.1
    validation_rows: Count = 500
    tensorboard: bool = False


class TrainingStoppedError(IvmError):
    """SIGTERM ended the training before its last step."""


def join_processes(precision: str = "no") -> Accelerator:
    """Meet the other processes that the launcher started; alone without a launcher."""
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # It refuses a second training of another precision in one process, as a Prefect worker runs them.
    AcceleratorState._reset_state()
    return Accelerator(
        # Otherwise several processes without a GPU do not see each other.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=precision,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=TIMEOUT),
            DistributedDataParallelKwargs(broadcast_buffers=False),
        ],
    )


def is_first_process() -> bool:
    """Whether this is the one process that speaks, of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def random_state() -> dict[str, Any]:
    """The state of torch's generators in this process."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to a `random_state`."""
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])


class Stop:
    """A context that turns SIGTERM into a clean end.

    Attributes:
        asked: SIGTERM has come, and someone will look here after the step.

    Raises:
        TrainingStoppedError: SIGTERM came outside `after_a_step`, where nothing can be lost.
    """

    def __init__(self) -> None:
        self.asked = self._later = False

    def __enter__(self) -> Stop:
        # Python takes signals in the main thread only; elsewhere the caller's own handling stays.
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGTERM, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGTERM, self._before)

    @contextmanager
    def after_a_step(self) -> Iterator[None]:
        """While this lasts a signal only sets `asked`."""
        self._later = True
        try:
            yield
        finally:
            self._later = False

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = self._later
        if not self._later:
            raise TrainingStoppedError("stopped by SIGTERM; the same command goes on from the last saved state, if any")
