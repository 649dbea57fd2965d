"""Which label trains as what, which only scores: the one place that decides."""

from __future__ import annotations

from typing import Literal

import numpy as np

from storage.records import Scope
from storage.tables.reviews import Adjudication

Split = Literal["human", "machine", "validation", "test", ""]
"""What a label is to a training: it trains as a human or a machine label, it chooses the model that is kept, it scores
the end, or "" nothing at all."""


def assign(split: Split, scope: Scope | None, adjudication: Adjudication | None) -> Split:
    """The split of a label after people reviewed it and rules cleaned it.

    The test split stays as it is. Reviews are about the engine's mask, so a human one outweighs them, and what they
    confirm or correct becomes human; a wrong instruction makes every mask useless. Cleaning takes the engine's mask, or
    the sample with whichever mask.

    Args:
        split: what the label is by its human mask, its status and its image.
        scope: of its exclusion, from `storage.tables.decisions.excluded`; None where nothing excludes it.
        adjudication: from `storage.tables.reviews.adjudications`; None where nobody judged it.
    """
    if split == "test":
        return split
    if adjudication is not None:
        if adjudication.verdict == "wrong_instruction":
            return ""
        if split != "human":
            split = "" if adjudication.verdict == "wrong" else "human"
    return "" if scope == "sample" or (scope and split == "machine") else split


def position(image_sha_N: np.ndarray, purpose: Literal["test", "validation"]) -> np.ndarray:
    """A number in [0, 1) for each image, by its content hash alone, independent between the two purposes.

    An image is held back for a purpose where the number lies below the share that is asked for: the same images in
    every run, on any machine, whatever else the data set holds, and never an image on both sides of a split.

    Args:
        image_sha_N: 32 hex digits each, object.

    Returns:
        position_N float64, from the first 13 hex digits for "test" and the last 13 for "validation": 52 bits are what
        a float64 holds exactly.
    """
    digits = slice(0, 13) if purpose == "test" else slice(-13, None)
    return np.array([int(sha[digits], 16) / 16**13 for sha in image_sha_N], np.float64)
