"""What experts that go from text to masks in one step have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.image_groups import answers_by_image
from ivm_data.experts.common.phrase_score import clean

if TYPE_CHECKING:
    import torch

ScoredMask = tuple[np.ndarray, float]
"""A mask HW bool, and its score in [0, 1]."""


def propose_by_image(
    images: Sequence[np.ndarray],
    rows: Sequence[int],
    batches: Batches,
    preprocess: Callable[[np.ndarray], torch.Tensor],
    propose: Callable[[Sequence[torch.Tensor], Sequence[list[int]]], Iterable[list[ScoredMask]]],
) -> list[ScoredMask]:
    """One mask for each image; "not found" where its index is not in `rows`.

    Args:
        preprocess: an image -> its pixels on the CPU; called from several threads, ahead of `propose`.
        propose: pixels of distinct images, and the rows that ask about each -> masks of each image's rows.
    """
    answers = answers_by_image(images, rows, batches, preprocess, propose)
    return [answers.get(i) or not_found(image) for i, image in enumerate(images)]


def spoken(phrases: Sequence[str]) -> list[str]:
    """The phrases that have words, as `clean` writes them."""
    return [words for phrase in phrases if (words := clean(phrase))]


def not_found(image_HWC: np.ndarray) -> tuple[np.ndarray, float]:
    """The answer of a `MaskProposer` that saw nothing."""
    return np.zeros(image_HWC.shape[:2], bool), 0.0


def from_heatmap(heatmap_HW: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
    """The mask of all pixels that reach the threshold, and the mean heat within; 0 where there are none.

    Args:
        heatmap_HW: probabilities, float32 in [0, 1].

    Raises:
        AnswerError: a probability is no number.
    """
    check_finite(heatmap_HW, "the probabilities of pixels")
    mask_HW = heatmap_HW >= threshold
    return mask_HW, float(heatmap_HW[mask_HW].mean()) if mask_HW.any() else 0.0
