"""What happens beside the steps: states are saved, the model is validated, scalars are written, SIGTERM is handled."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ivm_model.data.training_rows import TrainingRow
from ivm_model.engine.processes import RunConfig, Stop, TrainingStoppedError, random_state, set_random_state
from ivm_model.engine.training_state import StateStore
from ivm_model.metrics.evaluation import evaluate
from ivm_model.model.checkpoint import TENSORBOARD
from ivm_model.train.generator import AfterStep, GeneratorTrainer
from storage.common.extras import extra

if TYPE_CHECKING:
    from accelerate import Accelerator

_LOG = logging.getLogger(__name__)


class Callbacks:
    """What one training does beside its steps, and the state from which it goes on.

    Attributes:
        losses: of every step so far.
        best: `giou`, `step` and `weights` of the best model on the validation rows; None before the first score.
        found: what judges of the machine labels found between the phases; tensors and plain values.
    """

    def __init__(
        self,
        out: Path,
        identity: dict[str, Any],
        config: RunConfig,
        accelerator: Accelerator,
        *,
        stop: Stop,
        snapshot: str = "",
        validation: Sequence[TrainingRow] = (),
    ) -> None:
        self.out, self.config, self.accelerator, self.stop = out, config, accelerator, stop
        self.validation = validation
        self.store = StateStore(out, identity | {"processes": accelerator.num_processes}, snapshot)
        self.losses: list[float] = []
        self.best: dict[str, Any] | None = None
        self.found: dict[str, Any] = {}
        self._state = self.store.load()
        if self._state:
            _LOG.info("the training in '%s' goes on after step %d", out, self.resumed_at)
        self._writer = self._open_writer()

    @property
    def resumed_at(self) -> int:
        """Steps that were taken by an earlier, killed process."""
        return len(self._state["losses"]) if self._state else 0

    def resume(self, trainer: GeneratorTrainer) -> tuple[str, int]:
        """Bring the trainer back to the saved state.

        Returns:
            The phase that it was in, and the steps that it had taken in it; ("warm-up", 0) where nothing was saved.
        """
        if self._state is None:
            return "warm-up", 0
        state, self._state = self._state, None
        self.losses, self.best, self.found = state["losses"], state["best"], state["found"]
        trainer.restore(state["trainer"])
        set_random_state(state["random"][self.accelerator.process_index])
        return state["phase"], state["taken"]

    def watch(self, trainer: GeneratorTrainer, phase: str) -> AfterStep:
        """What to do after each step of a run that is about to begin."""
        # Where the run's order of rows begins: a resumed run draws it again and skips what it has seen.
        begin = trainer.rng.bit_generator.state

        def after_step(taken: int, loss: float) -> None:
            self.losses.append(loss)
            step = len(self.losses)
            self._scalar("loss", loss, step)
            self._scalar("rate", trainer.stepper.schedule.get_last_lr()[0], step)
            if self.validation and step % self.config.evaluate_every == 0:
                self.validate(trainer)
            stopped = self._anyone_stopped()
            if stopped or step % self.config.save_every == 0:
                self.save(trainer, phase, taken, begin)
            if stopped:
                raise TrainingStoppedError(
                    f"stopped by SIGTERM after step {step}; the state is in '{self.store.folder}', "
                    "the same command goes on from there"
                )

        return after_step

    def save(self, trainer: GeneratorTrainer, phase: str, taken: int, begin: Mapping[str, Any]) -> None:
        """Write the state; every process takes part."""
        from accelerate.utils import gather_object

        random = gather_object([random_state()])
        if self.accelerator.is_main_process:
            state = {
                "phase": phase,
                "taken": taken,
                "trainer": trainer.snapshot() | {"rng": begin},
                "random": random,
                "losses": self.losses,
                "best": self.best,
                "found": self.found,
            }
            self.store.save(len(self.losses) + bool(self.found), state)

    def validate(self, trainer: GeneratorTrainer) -> None:
        """Score the model as it is now, and remember it where it is the best."""
        with trainer.evaluating() as model:
            giou = evaluate(model.heatmaps, self.validation).overall.giou
            if self.best is None or giou > self.best["giou"]:
                weights = {name: value.detach().cpu().clone() for name, value in model.trained_parameters().items()}
                self.best = {"giou": giou, "step": len(self.losses), "weights": weights}
        self._scalar("validation/giou", giou, len(self.losses))

    def close(self) -> None:
        """Finish the files; the state lies in the folder that the checkpoint replaces."""
        if self._writer:
            self._writer.close()

    def _anyone_stopped(self) -> bool:
        if self.accelerator.num_processes == 1:
            return self.stop.asked
        asked = torch.tensor(float(self.stop.asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    def _scalar(self, name: str, value: float, step: int) -> None:
        if self._writer:
            self._writer.add_scalar(name, value, step)

    def _open_writer(self) -> Any:
        if not (self.config.tensorboard and self.accelerator.is_main_process):
            return None
        with extra("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.out / TENSORBOARD), purge_step=self.resumed_at + 1)
