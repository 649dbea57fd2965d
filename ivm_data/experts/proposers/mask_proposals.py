"""What experts that go from text to masks in one step have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.image_groups import rows_by_image
from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.common.prefetch import THREADS, ahead

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
    groups, masks = rows_by_image(images, rows), [not_found(image) for image in images]
    with closing(ahead(preprocess, (images[row[0]] for row in groups), 2 * batches.size, THREADS)) as pixels:
        pairs = zip(pixels, groups, strict=True)
        answers = batches.run(lambda batch: propose(*zip(*batch, strict=True)), pairs)
        for group, found in zip(groups, answers, strict=True):
            for i, scored in zip(group, found, strict=True):
                masks[i] = scored
    return masks


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
