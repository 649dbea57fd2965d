"""What briefly trained generators say of the machine labels: signals for weightings that ask no discriminator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ivm_model.data.features import Batch
from ivm_model.data.feed import Feed
from ivm_model.engine.losses import mask_loss
from ivm_model.engine.optimization import Progress, silent
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.weighting.weightings import NEEDS_CO_TEACHING, NEEDS_MEASURER
from storage.errors import ConfigError

SCORE_BATCH = 32


def ask_generators(
    weighting: str,
    trainer: GeneratorTrainer,
    feed: Feed,
    fresh: dict[str, Any],
    steps: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, torch.Tensor]:
    """The signals that a weighting needs from generators, as fields of `Signals`; none for most weightings.

    Args:
        trainer: after its warm-up; it is left as it was.
        fresh: its snapshot from before, where co-teaching models start.
        steps: length of the warm-up, and of the training of each co-teaching model.

    Raises:
        ConfigError: there are too few machine labels to halve.
        TrainingDivergedError: a loss is not finite.
    """
    if weighting in NEEDS_MEASURER:
        return {"measured_iou_N": measure(trainer.model, feed)}
    if weighting in NEEDS_CO_TEACHING:
        loss_N, fold_N = co_teach(trainer, feed, fresh, steps, seed=seed, progress=progress)
        return {"peer_loss_N": loss_N, "peer_fold_N": fold_N}
    return {}


def co_teach(
    trainer: GeneratorTrainer,
    feed: Feed,
    fresh: dict[str, Any],
    steps: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train a generator on each half of the machine labels, with all human ones, and score the other half with it.

    Rows of one image are in one half. Arguments and errors as of `ask_generators`.

    Returns:
        loss_N: CE + Dice of each machine label under the generator that did not learn from it; NaN where it cannot be
            read.
        fold_N: which half it is in, 0 or 1.
    """
    index = feed.index
    machine = index.machine
    half_U = np.random.default_rng(seed).permutation(int(index.image_K.max()) + 1) % 2
    fold_N = half_U[index.image_K[machine]]
    if set(fold_N) != {0, 1}:
        raise ConfigError("co-teaching needs machine labels of two images at least; use weighting 'uniform'")
    before, loss_N = trainer.snapshot(), torch.zeros(len(machine))
    for fold in (0, 1):
        theirs = machine[fold_N == fold]
        weight_K = np.ones(len(index), np.float32)
        weight_K[theirs] = 0
        trainer.restore(fresh)
        trainer.run(weight_K, steps, progress)
        loss_N[fold_N == fold] = label_losses(trainer.model, feed, theirs)
    trainer.restore(before)
    return loss_N, torch.from_numpy(fold_N)


def label_losses(model: MaskingModel, feed: Feed, index_N: np.ndarray) -> torch.Tensor:
    """CE + Dice of some rows' labels under the model as it is, loss_N; NaN where a row cannot be read."""

    def losses(logits_BHW: torch.Tensor, batch: Batch) -> torch.Tensor:
        return mask_loss(logits_BHW.float(), batch.target_BHW.cpu(), batch.valid_BHW.cpu())

    return _of_each(model, feed, index_N, losses)


def measure(model: MaskingModel, feed: Feed) -> torch.Tensor:
    """IoU of each machine label with what the model, as it is, answers: CLIP-VG's reliability, iou_N."""

    def ious(logits_BHW: torch.Tensor, batch: Batch) -> torch.Tensor:
        valid_BHW = batch.valid_BHW.cpu()
        answer_BHW, label_BHW = (logits_BHW > 0) & valid_BHW, (batch.target_BHW.cpu() >= 0.5) & valid_BHW
        union_B = (answer_BHW | label_BHW).sum((1, 2))
        return torch.where(union_B > 0, (answer_BHW & label_BHW).sum((1, 2)) / union_B.clamp(min=1), 1.0)

    return _of_each(model, feed, feed.index.machine, ious)


@torch.no_grad()
def _of_each(
    model: MaskingModel, feed: Feed, index_N: np.ndarray, score: Callable[[torch.Tensor, Batch], torch.Tensor]
) -> torch.Tensor:
    """A score of each row from the model's logits, score_N; NaN where a row cannot be read."""
    model.eval()
    score_K = torch.full((len(feed.index),), torch.nan)
    for batch in feed.in_order(index_N, SCORE_BATCH):
        logits_BHW = model(batch.encoded.to(model.device), batch.instructions).cpu()
        readable_B = batch.valid_BHW.cpu().any(2).any(1)
        score_K[batch.index_B[readable_B.numpy()]] = score(logits_BHW, batch)[readable_B]
    return score_K[index_N]
