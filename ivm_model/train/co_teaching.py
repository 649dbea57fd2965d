"""What briefly trained generators know of the labels: evidence for weightings that ask no discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ivm_model.data.dataset import TrainingRow
from ivm_model.data.features import Features
from ivm_model.engine.losses import mask_loss
from ivm_model.engine.optimization import Progress, silent
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorTrainer
from ivm_model.weighting.weightings import NEEDS_MEASURER, NEEDS_PEERS
from storage import rle
from storage.errors import ConfigError
from storage.overlap import RIGHT_IOU

SCORE_BATCH = 32


def ask_generators(
    weighting: str,
    trainer: GeneratorTrainer,
    features: Features,
    fresh: dict[str, Any],
    steps: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, torch.Tensor]:
    """What a weighting needs to hear from generators, as fields of `Evidence`; nothing for most weightings.

    Args:
        trainer: after its warm-up; it is left as it was.
        fresh: its snapshot from before, where peers start.
        steps: length of the warm-up, and of each peer's training.

    Raises:
        ConfigError: there are too few machine labels to halve.
        TrainingDivergedError: a peer's loss is not finite.
    """
    if weighting in NEEDS_MEASURER:
        return {"measured_iou_N": measure(trainer.model, features)}
    if weighting in NEEDS_PEERS:
        loss_N, fold_N = ask_peers(trainer, features, fresh, steps, seed=seed, progress=progress)
        return {"peer_loss_N": loss_N, "peer_fold_N": fold_N}
    return {}


def ask_peers(
    trainer: GeneratorTrainer,
    features: Features,
    fresh: dict[str, Any],
    steps: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train a generator on each half of the machine labels, with all human ones, and score the other half with it.

    Rows of one image are in one half. Arguments and errors as of `ask_generators`.

    Returns:
        loss_N: CE + Dice of each machine label under the generator that did not learn from it.
        fold_N: which half it is in, 0 or 1.
    """
    machine_N = _machine(features)
    half_U = np.random.default_rng(seed).permutation(int(features.image_N.max()) + 1) % 2
    fold_N = half_U[features.image_N[machine_N]]
    if set(fold_N) != {0, 1}:
        raise ConfigError("co-teaching needs machine labels of two images at least; use weighting 'uniform'")
    before, loss_N = trainer.snapshot(), torch.zeros(len(machine_N))
    for fold in (0, 1):
        theirs = machine_N[fold_N == fold]
        weight_R = np.ones(len(features.rows), np.float32)
        weight_R[theirs] = 0
        trainer.restore(fresh)
        trainer.run(weight_R, steps, progress)
        loss_N[fold_N == fold] = label_losses(trainer.model, features, theirs)
    trainer.restore(before)
    return loss_N, torch.from_numpy(fold_N)


@torch.no_grad()
def label_losses(model: MaskingModel, features: Features, index_K: np.ndarray) -> torch.Tensor:
    """CE + Dice of some rows' labels under the model as it is, loss_K."""
    model.eval()
    losses = []
    for index_B in _batches(index_K):
        batch = features.batch(index_B)
        logits_BHW = model(batch.encoded.to(model.device), batch.instructions).float().cpu()
        losses.append(mask_loss(logits_BHW, batch.target_BHW.cpu(), batch.valid_BHW.cpu()))
    return torch.cat(losses)


@torch.no_grad()
def measure(model: MaskingModel, features: Features) -> torch.Tensor:
    """IoU of each machine label with what the model, as it is, answers: CLIP-VG's reliability, iou_N."""
    model.eval()
    ious = []
    for index_B in _batches(_machine(features)):
        batch = features.batch(index_B)
        answer_BHW = (model(batch.encoded.to(model.device), batch.instructions) > 0).cpu() & batch.valid_BHW.cpu()
        label_BHW = (batch.target_BHW.cpu() >= 0.5) & batch.valid_BHW.cpu()
        union_B = (answer_BHW | label_BHW).sum((1, 2))
        ious.append(torch.where(union_B > 0, (answer_BHW & label_BHW).sum((1, 2)) / union_B.clamp(min=1), 1.0))
    return torch.cat(ious) if ious else torch.zeros(0)


def noise_rate(human: Sequence[TrainingRow]) -> float:
    """Share of the engine's labels of human rows that are wrong, IoU below RIGHT_IOU; NaN where there are none."""
    ious = [rle.iou(row.machine_mask, row.mask) for row in human if row.machine_mask is not None]
    return float(np.mean(np.array(ious) < RIGHT_IOU)) if ious else float("nan")


def _machine(features: Features) -> np.ndarray:
    return np.flatnonzero([row.origin == "machine" for row in features.rows])


def _batches(index_K: np.ndarray) -> list[np.ndarray]:
    return [index_K[start : start + SCORE_BATCH] for start in range(0, len(index_K), SCORE_BATCH)]
