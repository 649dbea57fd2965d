"""One question of an LMM in process, and the smaller one that is asked where the memory does not hold its image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivm_data.experts.common.protocols import AnswerError

MOST_HALVINGS = 4
"""Of an image's pixels: 250 x 250 are left of a million."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        text: the question.
        image_HWC: uint8 RGB; None for a question in words alone.
        max_pixels: of the image as the processor is given it.
        option: an answer whose likelihood is asked for; "" where the model itself answers.
        halvings: how often `max_pixels` was halved for want of memory.
    """

    text: str
    image_HWC: np.ndarray | None
    max_pixels: int
    option: str = ""
    halvings: int = 0


def questions_of(images: Sequence[np.ndarray] | None, texts: Sequence[str], max_pixels: int) -> list[Question]:
    """A question for each text, about its image where there are images.

    Raises:
        ValueError: another number of images.
    """
    if images is not None and len(images) != len(texts):
        raise ValueError(f"need one image for each question, got {len(images)} for {len(texts)} questions")
    shown: Sequence[np.ndarray | None] = [None] * len(texts) if images is None else images
    return [Question(text, image_HWC, max_pixels) for text, image_HWC in zip(texts, shown, strict=True)]


def smaller(asked: Question) -> Question | None:
    """The question about an image of half the pixels, with a warning in the log; None for one in words alone.

    Raises:
        AnswerError: it was halved `MOST_HALVINGS` times already.
    """
    if asked.image_HWC is None:
        return None
    height, width = asked.image_HWC.shape[:2]
    pixels = min(asked.max_pixels, height * width)
    if asked.halvings == MOST_HALVINGS or pixels < 2:
        raise AnswerError(
            f"out of memory with a single image of {width} x {height} pixels, which was shrunk {asked.halvings} times, "
            f"last to {pixels} pixels; use a smaller model, another 'dtype', or a device with more memory"
        )
    _LOG.warning(
        "out of memory with a single image of %d x %d pixels; it is asked about again with %d instead of %d pixels; "
        "a smaller 'max_pixels' asks the same of all images",
        *(width, height, pixels // 2, pixels),
    )
    return replace(asked, max_pixels=pixels // 2, halvings=asked.halvings + 1)
