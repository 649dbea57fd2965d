"""Rows that ask about the same image, together: each image is encoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np


def batches_by_image(images: Sequence[np.ndarray], rows: Sequence[int], size: int) -> Iterator[list[list[int]]]:
    """Rows grouped by the image array that they share, `size` images at a time: each image is encoded once."""
    groups = rows_by_image(images, rows)
    for start in range(0, len(groups), size):
        yield groups[start : start + size]


def rows_by_image(images: Sequence[np.ndarray], rows: Sequence[int]) -> list[list[int]]:
    """Rows grouped by the image array that they share, in order of first appearance."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i in rows:
        groups[id(images[i])].append(i)
    return list(groups.values())
