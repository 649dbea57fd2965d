"""Single examples read and decoded from the shards, in the same way whatever the number of workers."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from typing import Annotated

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ivm_model.data.augment import AugmentConfig, augment
from ivm_model.data.pixels import decode_to_fit, shrink_mask
from ivm_model.data.row_reader import UNREADABLE, RowReader
from ivm_model.data.training_index import TrainingIndex
from storage.common.validation import Checked, Count, Natural, NotNegative, Share, within


@dataclass(frozen=True)
class FeedConfig(Checked):
    """How training rows get from the shards to the model.

    Attributes:
        repeat: how often a row comes in an epoch, by label origin ("human", "machine") or by source; 1 where none is
            named, and a row with both takes the product. 0.5 is every second epoch on average.
        buffer: row groups, of 64 rows, among whose rows an epoch is shuffled; a reader keeps as many in memory.
        workers: processes of each training process that read and decode the rows that `memory_mb` does not hold; 0
            reads in the training process.
        memory_mb: most memory, in MiB, for what the frozen encoders make of the first rows; the others are read and
            encoded each time. With augmentation nothing is kept, as no image comes twice alike.
        unreadable: share of the training rows that may turn out to be unreadable, at least ten rows; they are skipped
            and counted. One more ends the training.
        augment: random changes of images and masks.
    """

    repeat: Mapping[str, Annotated[float, within("[0, 1000)")]] = field(default_factory=dict)
    buffer: Count = 16
    workers: Natural = 2
    memory_mb: NotNegative = 512
    unreadable: Share = 0.01
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True, eq=False)
class Example:
    """One row as a worker hands it over.

    Attributes:
        index: of the row.
        image_HWC: uint8 RGB, its longer side at most the model's.
        mask_HW: uint8 of the image's size, 255 where wholly covered.
        problem: why the row cannot be used; "" where it can.
    """

    index: int
    image_HWC: np.ndarray
    mask_HW: np.ndarray
    problem: str = ""


class Examples(Dataset[Example]):
    """Rows by draw `epoch * len(index) + row`: what a worker runs.

    Args:
        side: images are shrunk to it.
    """

    def __init__(self, index: TrainingIndex, config: FeedConfig, side: int, seed: int) -> None:
        self.index, self.config, self.side, self.seed = index, config, side, seed
        self.reader = RowReader(index, config.buffer)

    def __getitem__(self, draw: int) -> Example:
        epoch, k = divmod(int(draw), len(self.index))
        try:
            image, mask = self.reader.example(k)
            image_HWC = decode_to_fit(image, self.side)
            mask_HW = shrink_mask(mask, *image_HWC.shape[:2])
        except UNREADABLE as error:
            return Example(k, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), str(error) or repr(error))
        if self.config.augment.active:
            rng = np.random.default_rng([self.seed, epoch, *_words(self.index.facts["sample_id"][k].as_py())])
            instruction = self.index.facts["instruction"][k].as_py()
            image_HWC, mask_HW = augment(image_HWC, mask_HW, instruction, self.config.augment, rng)
        return Example(k, image_HWC, mask_HW)


def load(examples: Examples, draws: Iterable[np.ndarray], workers: int) -> Iterator[list[Example]]:
    """The examples of each draw, in order, read by some worker processes."""
    return iter(
        DataLoader(
            examples,
            batch_sampler=_Batches(draws),
            collate_fn=_as_they_are,
            num_workers=workers,
            multiprocessing_context=_clean_processes() if workers else None,
            worker_init_fn=_one_thread,
            # A generator of its own: the loader draws a seed for its workers, and dropout must not notice.
            generator=torch.Generator(),
        )
    )


def _clean_processes() -> BaseContext:
    """Workers that are forked from a server without threads: a fork of this process may die of other libraries'."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class _Batches:
    """A series of draws as the loader takes it."""

    def __init__(self, draws: Iterable[np.ndarray]) -> None:
        self._draws = draws

    def __iter__(self) -> Iterator[list[int]]:
        return (draw.tolist() for draw in self._draws)


def _as_they_are(examples: list[Example]) -> list[Example]:
    return examples


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _words(sample_id: str) -> list[int]:
    """A sample id as seeds of 32 bits."""
    digest = hashlib.blake2b(sample_id.encode(), digest_size=8).digest()
    return [int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")]
