"""Losses over mask logits, one value for each sample so that each can be weighted."""

from __future__ import annotations

import torch
from torch.nn import functional

DICE_SCALE = 1000.0
"""Both sums of Dice are divided by it before `DICE_EPS` is added: a smoothing of DICE_SCALE * DICE_EPS pixels."""
DICE_EPS = 1e-3


def cross_entropy(
    logits_BHW: torch.Tensor, target_BHW: torch.Tensor, valid_BHW: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean binary cross-entropy over the valid pixels of each sample.

    Args:
        logits_BHW: float.
        target_BHW: float in [0, 1].
        valid_BHW: bool, False for pixels to ignore; None means all count.

    Returns:
        loss_B; 0 for a sample without valid pixels.
    """
    loss_BHW = functional.binary_cross_entropy_with_logits(logits_BHW, target_BHW, reduction="none")
    if valid_BHW is None:
        return loss_BHW.mean((1, 2))
    return (loss_BHW * valid_BHW).sum((1, 2)) / valid_BHW.sum((1, 2)).clamp(min=1)


def dice(
    logits_BHW: torch.Tensor,
    target_BHW: torch.Tensor,
    valid_BHW: torch.Tensor | None = None,
    scale: float = DICE_SCALE,
    eps: float = DICE_EPS,
) -> torch.Tensor:
    """1 - Dice of soft masks over the valid pixels of each sample, in [0, 1].

    The form of LISA (arXiv 2308.00692): 1 - (2 sum(p t) / s + e) / (sum(p) / s + sum(t) / s + e). LISA's e is 1e-6;
    with 1e-3 the smoothing is one pixel, so that an empty target still pulls the mask down.
    """
    prob_BHW = logits_BHW.sigmoid()
    if valid_BHW is not None:
        prob_BHW, target_BHW = prob_BHW * valid_BHW, target_BHW * valid_BHW
    overlap_B = (prob_BHW * target_BHW).sum((1, 2)) / scale
    total_B = prob_BHW.sum((1, 2)) / scale + target_BHW.sum((1, 2)) / scale
    return 1 - (2 * overlap_B + eps) / (total_B + eps)


def mask_loss(
    logits_BHW: torch.Tensor, target_BHW: torch.Tensor, valid_BHW: torch.Tensor | None = None
) -> torch.Tensor:
    """CE + Dice of each sample (IVM, arXiv 2405.19783, the loss that DWSL weights), loss_B."""
    return cross_entropy(logits_BHW, target_BHW, valid_BHW) + dice(logits_BHW, target_BHW, valid_BHW)


def human_or_not(human_H: torch.Tensor, machine_M: torch.Tensor, wrong_N: torch.Tensor | None = None) -> torch.Tensor:
    """Balanced binary cross-entropy of the discriminator: human 1, machine and wrong 0 (IVM, stage I).

    Args:
        human_H: logits of human labels.
        machine_M: logits of machine labels.
        wrong_N: logits of deliberately wrong masks; half of the "not human" side where given.

    Returns:
        E_h[-log D] + E_m[-log(1 - D)], the machine term shared equally with the wrong masks; a scalar.
    """
    not_human = functional.softplus(machine_M).mean()
    if wrong_N is not None:
        not_human = (not_human + functional.softplus(wrong_N).mean()) / 2
    return functional.softplus(-human_H).mean() + not_human


def positive_unlabeled(
    human_H: torch.Tensor, machine_M: torch.Tensor, wrong_N: torch.Tensor | None = None, eta: float = 0.5
) -> torch.Tensor:
    """PU loss: machine labels are unlabeled, a share `eta` of them as good as human ones.

    eta E_h[-log D] + E_m[-log(1 - D)] - eta E_h[-log(1 - D)] (DWBC, arXiv 2207.10050, eq. 8; its code computes the
    same). It is unbounded below as D -> 1 on human labels; DWBC clips D to [0.1, 0.9], and so do we.
    Wrong masks add E_n[-log(1 - D)]: known negatives.
    """
    return _pu_terms(human_H, machine_M, eta, clip=True).sum() + _known_wrong(wrong_N)


def non_negative_pu(
    human_H: torch.Tensor, machine_M: torch.Tensor, wrong_N: torch.Tensor | None = None, eta: float = 0.5
) -> torch.Tensor:
    """PU loss whose estimated risk on true negatives is clipped at 0 (nnPU, arXiv 1703.00593, eq. 6)."""
    positive, negative = _pu_terms(human_H, machine_M, eta, clip=False)
    risk: torch.Tensor = positive + negative.clamp(min=0) + _known_wrong(wrong_N)
    return risk


def _pu_terms(human_H: torch.Tensor, machine_M: torch.Tensor, eta: float, clip: bool) -> torch.Tensor:
    """(positive risk, negative risk); with `clip` D is held in [0.1, 0.9]."""
    if clip:
        bound = torch.logit(torch.tensor(0.9)).item()
        human_H, machine_M = human_H.clamp(-bound, bound), machine_M.clamp(-bound, bound)
    positive = eta * functional.softplus(-human_H).mean()
    negative = functional.softplus(machine_M).mean() - eta * functional.softplus(human_H).mean()
    return torch.stack([positive, negative])


def _known_wrong(wrong_N: torch.Tensor | None) -> torch.Tensor | float:
    return 0.0 if wrong_N is None else functional.softplus(wrong_N).mean()
