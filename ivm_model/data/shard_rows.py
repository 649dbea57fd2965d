"""Single examples read from the shards, in the same way whatever the number of workers."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ivm_model.data.augment import AugmentConfig, augment
from ivm_model.data.features import same_shape
from ivm_model.data.pixels import decode_to_fit, shrink
from ivm_model.data.row_reader import UNREADABLE, RowReader
from ivm_model.data.shard_index import ShardIndex
from storage import rle
from storage.errors import ConfigError


@dataclass(frozen=True)
class StreamConfig:
    """How rows are read from the shards.

    Attributes:
        on: read them while training, instead of keeping everything in memory.
        repeat: how often a row comes in an epoch, by label origin ("human", "machine") or by source; 1 where none is
            named, and a row with both takes the product. 0.5 is every second epoch on average.
        buffer: row groups, of 64 rows, among whose rows an epoch is shuffled; a worker keeps as many in memory.
        workers: processes of each training process that read and decode; 0 does without.
        human, machine: most rows of each origin that stage I learns from; they are kept in memory, evenly by source.
        validation: most rows that validate where `run.evaluate_every` is set; they are kept in memory.
        augment: random changes of images and masks.
    """

    on: bool = False
    repeat: Mapping[str, float] = field(default_factory=dict)
    buffer: int = 16
    workers: int = 2
    human: int = 1000
    machine: int = 2000
    validation: int = 500
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.buffer < 1 or self.workers < 0:
            raise ConfigError(
                f"'buffer' must be at least 1 and 'workers' at least 0, got {self.buffer} and {self.workers}"
            )
        if min(self.human, self.machine) < 2 or self.validation < 1:
            raise ConfigError(
                "'human' and 'machine' must be at least 2 and 'validation' at least 1, "
                f"got {self.human}, {self.machine} and {self.validation}"
            )
        if wrong := {name: times for name, times in self.repeat.items() if not 0 <= float(times) < 1000}:
            raise ConfigError(f"'repeat' must lie in [0, 1000), got {wrong}")


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


class ShardRows(Dataset[Example]):
    """Rows by draw `epoch * len(index) + row`: what a worker runs.

    Args:
        side: images are shrunk to it.
    """

    def __init__(self, index: ShardIndex, config: StreamConfig, side: int, seed: int) -> None:
        self.index, self.config, self.side, self.seed = index, config, side, seed
        self.reader = RowReader(index, config.buffer)

    def __getitem__(self, draw: int) -> Example:
        epoch, k = divmod(int(draw), len(self.index))
        try:
            image_HWC, mask_HW = self._read(k)
        except UNREADABLE as error:
            return Example(k, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), str(error) or repr(error))
        if self.config.augment.active:
            rng = np.random.default_rng([self.seed, epoch, *_words(self.index.facts["sample_id"][k].as_py())])
            instruction = self.index.facts["instruction"][k].as_py()
            image_HWC, mask_HW = augment(image_HWC, mask_HW, instruction, self.config.augment, rng)
        return Example(k, image_HWC, mask_HW)

    def _read(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.reader.example(k)
        image_HWC = decode_to_fit(image, self.side)
        height, width = image_HWC.shape[:2]
        if not same_shape(mask, height, width):
            raise ValueError(f"a mask of {mask.width}x{mask.height} on an image of another shape, {width}x{height}")
        return image_HWC, shrink(rle.decode_gray(mask), height, width)


def load(rows: ShardRows, draws: Iterable[np.ndarray], workers: int) -> Iterator[list[Example]]:
    """The examples of each draw, in order, read by some worker processes."""
    return iter(
        DataLoader(
            rows,
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
