"""What the discriminator looks at: images with all but a mask's pixels painted over, each with an instruction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch

from ivm_model.dataset import Row, decode_image
from ivm_model.masking import keep_only
from ivm_model.model import MaskingModel
from ivm_model.negatives import WRONG, wrong_mask
from ivm_model.optimization import Progress, silent
from storage import rle
from storage.records import Rle

Part = Literal["human", "machine", "wrong", "engine", "shuffled", "truth"]
"""Why a view exists. The first three train; "engine" (the machine's label of a human row), "shuffled" (a human row under
another row's mask) and "truth" (the held-out truth of a machine row) only audit."""
VIEW_BATCH = 32


@dataclass(frozen=True, eq=False)
class View:
    """One question to the discriminator.

    Attributes:
        row: index of the row whose image it shows.
        mask: the pixels that stay.
        instruction: the row's own, or another's where that is what makes the view wrong.
    """

    part: Part
    row: int
    mask: Rle
    instruction: str


@dataclass(frozen=True)
class Views:
    """M views with what the LMM's vision tower makes of the masked images, float16; 16 kB each for the embedded LMM."""

    views: tuple[View, ...]
    vision_MTC: torch.Tensor

    def where(self, *parts: Part) -> np.ndarray:
        """Indices of the views of some parts."""
        return np.flatnonzero([view.part in parts for view in self.views])


def make_views(rows: Sequence[Row], wrong_per_row: int, seed: int) -> tuple[View, ...]:
    """All views of a training set.

    Args:
        wrong_per_row: deliberately wrong views of each human row; ways of being wrong take turns.
    """
    rng = np.random.default_rng(seed)
    human = [i for i, row in enumerate(rows) if row.origin == "human"]
    views = [View(row.origin, i, row.mask, row.instruction) for i, row in enumerate(rows)]
    neighbours = _Neighbours(rows)
    for turn, i in enumerate(human):
        views += _wrong_views(rows, i, turn, wrong_per_row, neighbours, rng)
        if (engine := rows[i].machine_mask) is not None:
            views.append(View("engine", i, engine, rows[i].instruction))
        if len(human) > 1:
            other = rows[human[(turn + 1) % len(human)]]
            views.append(View("shuffled", i, rle.encode(_resized(other.mask, rows[i].mask)), rows[i].instruction))
    with_truth = [(i, row.truth) for i, row in enumerate(rows) if row.truth is not None]
    for k in rng.permutation(len(with_truth))[: len(human)]:
        i, truth = with_truth[k]
        views.append(View("truth", i, truth, rows[i].instruction))
    return tuple(views)


def see_views(
    model: MaskingModel, rows: Sequence[Row], views: tuple[View, ...], dim: float, progress: Progress = silent
) -> Views:
    """Run the frozen vision tower over the masked images; `dim` as in `masking.keep_only`."""
    parts = []
    images: dict[int, np.ndarray] = {}
    for start in range(0, len(views), VIEW_BATCH):
        batch = views[start : start + VIEW_BATCH]
        images = {view.row: images.get(view.row, None) for view in batch}
        for row in images:
            images[row] = decode_image(rows[row])
        masked = [keep_only(images[view.row], rle.decode(view.mask), dim=dim) for view in batch]
        parts.append(model.lmm.see(masked).half())
        progress("views", min(start + VIEW_BATCH, len(views)), len(views))
    return Views(views, torch.cat(parts))


def _wrong_views(
    rows: Sequence[Row], i: int, turn: int, count: int, neighbours: _Neighbours, rng: np.random.Generator
) -> Iterator[View]:
    """Wrong masks, and in every fifth place the right mask under another row's instruction."""
    row, ways = rows[i], ("instruction", *WRONG)
    for k in range(count):
        way = ways[(turn * count + k) % len(ways)]
        other = rows[neighbours.stranger(i, rng)]
        if way == "instruction":
            if other.instruction != row.instruction:
                yield View("wrong", i, row.mask, other.instruction)
            continue
        borrowed = [_resized(rows[j].mask, row.mask) for j in neighbours.same_image(i)]
        wrong_HW = wrong_mask(way, rle.decode(row.mask), borrowed or [_resized(other.mask, row.mask)], rng)
        if wrong_HW is not None:
            yield View("wrong", i, rle.encode(wrong_HW), row.instruction)


class _Neighbours:
    """Which rows share an image."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._key = [row.image_key for row in rows]
        self._by_key: dict[str, list[int]] = {}
        for i, key in enumerate(self._key):
            self._by_key.setdefault(key, []).append(i)

    def same_image(self, i: int) -> list[int]:
        """Other rows of the image: their masks lie on real things."""
        return [j for j in self._by_key[self._key[i]] if j != i]

    def stranger(self, i: int, rng: np.random.Generator) -> int:
        """A random row of another image; the row itself where there is no other."""
        strangers = [j for j in rng.integers(len(self._key), size=8) if self._key[j] != self._key[i]]
        return int(strangers[0]) if strangers else i


def _resized(mask: Rle, like: Rle) -> np.ndarray:
    """Decoded and stretched to another mask's size."""
    mask_HW = rle.decode(mask)
    if (mask.height, mask.width) == (like.height, like.width):
        return mask_HW
    return cv2.resize(mask_HW.astype(np.uint8), (like.width, like.height), interpolation=cv2.INTER_NEAREST) > 0
