"""How a mask agrees with what a briefly trained generator answers: a discriminator's input beside the image."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional

FEATURES = ("iou", "entropy", "precision", "recall", "weakest")
SPECK = 0.01
"""A piece with a smaller share of the mask says nothing about what the mask shows."""


def agreement(logits_BHW: torch.Tensor, mask_BHW: torch.Tensor, valid_BHW: torch.Tensor) -> torch.Tensor:
    """Agreement of masks with a generator's answers, agreement_BF in [-1, 1], 1 for the best.

    IoU and cross-entropy tell how near the two are, precision and recall to which side they differ: an object too many
    costs precision, a part that is missing recall. The weakest piece finds the one object of several that the generator
    does not see. All are of probabilities, IoU, precision and recall with one pixel added above and below, so that two
    empty masks agree:

        iou        2 IoU - 1, with sums of minima and maxima
        entropy    1 - 2 tanh(CE / area share), where the mask's area share (at least 1 %) makes the errors of small and
                   large masks alike
        precision  2 sum(p m) / sum(m) - 1
        recall     2 sum(p m) / sum(p) - 1
        weakest    2 min over the mask's connected pieces of the mean p - 1; 1 - 2 max p for an empty mask: how sure the
                   generator is of the pixel that it would rather have

    Args:
        logits_BHW: the generator's.
        mask_BHW: float in [0, 1].
        valid_BHW: bool, False in the padding.

    Returns:
        One column for each of `FEATURES`.
    """
    prob_BHW = logits_BHW.sigmoid() * valid_BHW
    mask_BHW = mask_BHW * valid_BHW
    near_B = _share(torch.minimum(prob_BHW, mask_BHW), torch.maximum(prob_BHW, mask_BHW))
    both_BHW = prob_BHW * mask_BHW
    entropy_BHW = functional.binary_cross_entropy_with_logits(logits_BHW, mask_BHW, reduction="none") * valid_BHW
    area_B = valid_BHW.sum((1, 2)).clamp(min=1)
    share_B = (mask_BHW.sum((1, 2)) / area_B).clamp(min=0.01)
    closeness_B = 1 - torch.tanh(entropy_BHW.sum((1, 2)) / area_B / share_B)
    columns = (
        near_B,
        closeness_B,
        _share(both_BHW, mask_BHW),
        _share(both_BHW, prob_BHW),
        _weakest(prob_BHW, mask_BHW),
    )
    return 2 * torch.stack(columns, 1) - 1


def _share(part_BHW: torch.Tensor, whole_BHW: torch.Tensor) -> torch.Tensor:
    return (part_BHW.sum((1, 2)) + 1) / (whole_BHW.sum((1, 2)) + 1)


def _weakest(prob_BHW: torch.Tensor, mask_BHW: torch.Tensor) -> torch.Tensor:
    """Least mean probability over each mask's connected pieces, but for specks; 1 - max p without any; weakest_B."""
    probs, masks = prob_BHW.cpu().numpy(), (mask_BHW.cpu().numpy() >= 0.5).astype(np.uint8)
    found = [
        _piece_means(prob_HW, mask_HW).min() if mask_HW.any() else 1 - prob_HW.max()
        for prob_HW, mask_HW in zip(probs, masks, strict=True)
    ]
    return torch.tensor(found, dtype=prob_BHW.dtype, device=prob_BHW.device)


def _piece_means(prob_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    _, piece_HW = cv2.connectedComponents(mask_HW)
    area_P = np.bincount(piece_HW.ravel())[1:]
    sum_P = np.bincount(piece_HW.ravel(), prob_HW.ravel())[1:]
    is_piece_P = area_P >= SPECK * area_P.sum()
    mean_P: np.ndarray = sum_P[is_piece_P] / area_P[is_piece_P]
    return mean_P
