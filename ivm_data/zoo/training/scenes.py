"""Scenes of the procedural world, drawn once and memory-mapped: what every training of an embedded expert reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import overload

import numpy as np

from ivm_data.worlds import painting
from ivm_data.worlds import scene as world
from ivm_data.worlds.scene import COLOURS, IMAGE_SIZE, SHAPES, SIZES, TEXTURES, Scene, Thing, draw_scene
from ivm_data.worlds.split import Split
from storage.common.validation import Count, check
from storage.disk.publish import whole_folder
from storage.records import Box

CHUNK = 500
"""Scenes in one cache folder: a longer request extends a shorter one."""
DEFAULT_CACHE = Path("~/.cache/ivm-engine/scenes")
_WORDS = tuple(tuple(words) for words in (SHAPES, COLOURS, SIZES, TEXTURES))
_MAX_THINGS = 16
_WORLD_HASH = hashlib.blake2b(
    b"".join(Path(str(module.__file__)).read_bytes() for module in (world, painting)), digest_size=6
).hexdigest()
"""Part of the cache's path: scenes that other code drew are never read."""


@dataclass(frozen=True)
class _Chunk:
    """`image_NHWC` uint8, `instance_NHW` uint8 (0 background, k + 1 thing k), `word_NK4` int8 (-1 no thing).

    `visible_NK` float64 is each thing's share of uncovered pixels.
    """

    image_NHWC: np.ndarray
    instance_NHW: np.ndarray
    word_NK4: np.ndarray
    visible_NK: np.ndarray

    @classmethod
    def blank(cls) -> _Chunk:
        return cls(
            np.zeros((CHUNK, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8),
            np.zeros((CHUNK, IMAGE_SIZE, IMAGE_SIZE), np.uint8),
            np.full((CHUNK, _MAX_THINGS, len(_WORDS)), -1, np.int8),
            np.zeros((CHUNK, _MAX_THINGS)),
        )

    @classmethod
    def read(cls, folder: Path) -> _Chunk:
        return cls(*(np.load(folder / f"{array.name}.npy", mmap_mode="r") for array in fields(cls)))

    def write(self, folder: Path) -> None:
        for array in fields(self):
            np.save(folder / f"{array.name}.npy", getattr(self, array.name))

    def put(self, row: int, scene: Scene) -> None:
        self.image_NHWC[row] = scene.image_HWC
        for k, thing in enumerate(scene.things):
            self.instance_NHW[row][thing.mask_HW] = k + 1
            values = (thing.shape, thing.colour, thing.size, thing.texture)
            self.word_NK4[row, k] = [words.index(value) for words, value in zip(_WORDS, values, strict=True)]
            self.visible_NK[row, k] = thing.visible

    def things(self, row: int) -> tuple[Thing, ...]:
        instance_HW = np.asarray(self.instance_NHW[row])
        return tuple(
            _thing(words, instance_HW == k + 1, float(self.visible_NK[row, k]))
            for k, words in enumerate(self.word_NK4[row].tolist())
            if words[0] >= 0
        )


class Scenes(Sequence[Scene]):
    """The first `count` scenes of a split; indexing costs well under a millisecond."""

    def __init__(self, split: Split, count: int, chunks: Sequence[_Chunk]) -> None:
        self.split, self._count, self._chunks = split, count, chunks

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index: int | slice) -> Scene | list[Scene]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        index = index + self._count if index < 0 else index
        if not 0 <= index < self._count:
            raise IndexError(f"scene index must lie in [0, {self._count}), got {index}")
        chunk, row = self._chunks[index // CHUNK], index % CHUNK
        return Scene(self.split, index, np.array(chunk.image_NHWC[row]), chunk.things(row))


def load_scenes(split: Split, count: int, cache_dir: Path | None = None) -> Scenes:
    """The first `count` scenes of a split from the cache; draws and stores those that it lacks.

    Args:
        cache_dir: where to keep them (66 kB a scene); None means `~/.cache/ivm-engine/scenes`.
    """
    check(Count, count, "count")
    root = (cache_dir or DEFAULT_CACHE).expanduser() / _WORLD_HASH
    folders = [root / f"{split}-{part:05d}" for part in range((count + CHUNK - 1) // CHUNK)]
    for part, folder in enumerate(folders):
        if not folder.exists():
            _draw_chunk(split, part, folder)
    return Scenes(split, count, [_Chunk.read(folder) for folder in folders])


def _draw_chunk(split: Split, part: int, folder: Path) -> None:
    """Draw one chunk; it appears whole, so that two trainings may share a cache."""
    chunk = _Chunk.blank()
    for row in range(CHUNK):
        chunk.put(row, draw_scene(split, part * CHUNK + row))
    with whole_folder(folder, replace=False) as hidden:
        chunk.write(hidden)


def _thing(words: list[int], mask_HW: np.ndarray, visible: float) -> Thing:
    shape, colour, size, texture = (_WORDS[k][word] for k, word in enumerate(words))
    ys, xs = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    box = Box(float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))
    return Thing(shape=shape, colour=colour, size=size, texture=texture, mask_HW=mask_HW, box=box, visible=visible)
