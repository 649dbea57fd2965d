"""Rows that ask about the same image, together: each image is encoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.prefetch import THREADS, ahead

if TYPE_CHECKING:
    import torch

Answer = TypeVar("Answer")


def batches_by_image(images: Sequence[np.ndarray], rows: Sequence[int], size: int) -> Iterator[list[list[int]]]:
    """Rows grouped by the image array that they share, `size` images at a time: each image is encoded once."""
    groups = rows_by_image(images, rows)
    for start in range(0, len(groups), size):
        yield groups[start : start + size]


def answers_by_image(
    images: Sequence[np.ndarray],
    rows: Sequence[int],
    batches: Batches,
    preprocess: Callable[[np.ndarray], torch.Tensor],
    ask: Callable[[Sequence[torch.Tensor], Sequence[list[int]]], Iterable[list[Answer]]],
) -> dict[int, Answer]:
    """An answer for each of `rows`; each image is encoded once.

    Args:
        preprocess: an image -> its pixels on the CPU; called from several threads, ahead of `ask`.
        ask: pixels of distinct images, and the rows that ask about each -> answers to each image's rows.
    """
    groups = rows_by_image(images, rows)
    answers: dict[int, Answer] = {}
    with closing(ahead(preprocess, (images[row[0]] for row in groups), 2 * batches.size, THREADS)) as pixels:
        found = batches.run(lambda batch: ask(*zip(*batch, strict=True)), zip(pixels, groups, strict=True))
        for group, row_answers in zip(groups, found, strict=True):
            answers.update(zip(group, row_answers, strict=True))
    return answers


def rows_by_image(images: Sequence[np.ndarray], rows: Sequence[int]) -> list[list[int]]:
    """Rows grouped by the image array that they share, in order of first appearance."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i in rows:
        groups[id(images[i])].append(i)
    return list(groups.values())
