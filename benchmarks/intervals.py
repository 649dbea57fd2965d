"""95 % bootstrap intervals over images: pairs about one image are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ivm_model.metrics.mask_scores import CONFIDENCE


def draws(image_N: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of the rows of as many images as there are, drawn with replacement, `count` times.

    Args:
        image_N: image of each row, as a number from 0.
    """
    images = int(image_N.max()) + 1
    rows_of = np.split(np.argsort(image_N, kind="stable"), np.cumsum(np.bincount(image_N, minlength=images))[:-1])
    for _ in range(count):
        yield np.concatenate([rows_of[image] for image in rng.integers(images, size=images)])


def told(value: float, drawn: Sequence[float]) -> str:
    """A difference with its interval; draws in which it is not defined are left out."""
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
