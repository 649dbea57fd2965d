"""What the discriminator looks at: images with all but a mask's pixels painted over, each with an instruction.

An empty mask says that there is no target: such a view is the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import torch

from ivm_model.data.training_rows import TrainingRow
from ivm_model.discriminator.negatives import WRONG, wrong_mask
from ivm_model.engine.optimization import Progress, silent
from ivm_model.masking import keep_only
from ivm_model.model.masking_model import MaskingModel
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Rle

Purpose = Literal["human", "machine", "wrong", "engine", "shuffled", "truth"]
"""Why a view exists. The first three train; "engine" (the machine's label of a human row), "shuffled" (a human row
under another row's mask) and "truth" (the held-out truth of a machine row) only audit."""
VIEW_BATCH = 32
_WAYS = ("instruction", *WRONG)


@dataclass(frozen=True, eq=False)
class MaskedView:
    """One question to the discriminator.

    Attributes:
        row: index of the row whose image it shows.
        mask: the pixels that stay.
        instruction: the row's own, or another's where that is what makes the view wrong.
    """

    part: Purpose
    row: int
    mask: Rle
    instruction: str

    @property
    def is_empty(self) -> bool:
        """It says that there is no target."""
        return rle.area(self.mask) == 0


@dataclass(frozen=True)
class MaskedViews:
    """M views with what the LMM's vision tower makes of the masked images, float16; 16 kB each for the embedded LMM."""

    views: tuple[MaskedView, ...]
    vision_MTC: torch.Tensor

    @cached_property
    def empty_M(self) -> np.ndarray:
        """Which views say that there is no target, bool."""
        return np.array([view.is_empty for view in self.views], bool)

    def where(self, *parts: Purpose) -> np.ndarray:
        """Indices of the views of some parts."""
        return np.flatnonzero([view.part in parts for view in self.views])


def make_views(rows: Sequence[TrainingRow], wrong_per_row: int, seed: int) -> tuple[MaskedView, ...]:
    """All views of a training set.

    Args:
        wrong_per_row: deliberately wrong views of each human row; ways of being wrong take turns.
    """
    rng = np.random.default_rng(seed)
    human = [i for i, row in enumerate(rows) if row.origin == "human"]
    views = [MaskedView(row.origin, i, row.mask, row.instruction) for i, row in enumerate(rows)]
    neighbours = _Neighbours(rows)
    for turn, i in enumerate(human):
        ways = [_WAYS[(turn * wrong_per_row + k) % len(_WAYS)] for k in range(wrong_per_row)]
        views += [view for way in ways if (view := neighbours.wrong_view(i, way, rng))]
        if (engine := rows[i].machine_mask) is not None:
            views.append(MaskedView("engine", i, engine, rows[i].instruction))
        if len(human) > 1:
            other = rows[human[(turn + 1) % len(human)]]
            views.append(MaskedView("shuffled", i, rle.encode(_resized(other.mask, rows[i].mask)), rows[i].instruction))
    with_truth = [(i, row.truth) for i, row in enumerate(rows) if row.truth is not None]
    for k in rng.permutation(len(with_truth))[: len(human)]:
        i, truth = with_truth[k]
        views.append(MaskedView("truth", i, truth, rows[i].instruction))
    return tuple(views)


def see_views(
    model: MaskingModel,
    rows: Sequence[TrainingRow],
    views: tuple[MaskedView, ...],
    dim: float,
    progress: Progress = silent,
) -> MaskedViews:
    """Run the frozen vision tower over the masked images, whole ones under empty masks; `dim` as in `keep_only`."""
    parts = []
    for start in range(0, len(views), VIEW_BATCH):
        batch = views[start : start + VIEW_BATCH]
        images = {row: decode(rows[row].image) for row in {view.row for view in batch}}
        masked = [_shown(images[view.row], view, dim) for view in batch]
        parts.append(model.lmm.see(model.fit(masked)).half())
        progress("views", min(start + VIEW_BATCH, len(views)), len(views))
    return MaskedViews(views, torch.cat(parts))


def _shown(image_HWC: np.ndarray, view: MaskedView, dim: float) -> np.ndarray:
    return image_HWC if view.is_empty else keep_only(image_HWC, rle.decode(view.mask), dim=dim)


class _Neighbours:
    """Which rows share an image, and what can be borrowed from whom."""

    def __init__(self, rows: Sequence[TrainingRow]) -> None:
        self._rows = rows
        self._key = [row.image_sha for row in rows]
        self._by_key: dict[str, list[int]] = {}
        for i, key in enumerate(self._key):
            self._by_key.setdefault(key, []).append(i)

    def wrong_view(self, i: int, way: str, rng: np.random.Generator) -> MaskedView | None:
        """Row i under a wrong mask, or its right mask under another row's instruction; None where none comes up.

        Masks are borrowed from the same image where it has others, for those lie on real things. "No target" under an
        instruction of another image is most often right, so it is not made.
        """
        row, other = self._rows[i], self._rows[self._other_image(i, rng)]
        if way == "instruction":
            different = other.instruction != row.instruction and rle.area(row.mask) > 0
            return MaskedView("wrong", i, row.mask, other.instruction) if different else None
        lenders = [self._rows[j] for j in self._by_key[self._key[i]] if j != i] or [other]
        wrong_HW = wrong_mask(way, rle.decode(row.mask), [_resized(each.mask, row.mask) for each in lenders], rng)
        return None if wrong_HW is None else MaskedView("wrong", i, rle.encode(wrong_HW), row.instruction)

    def _other_image(self, i: int, rng: np.random.Generator) -> int:
        """A random row of another image; the row itself where chance finds none."""
        others = [j for j in rng.integers(len(self._key), size=8) if self._key[j] != self._key[i]]
        return int(others[0]) if others else i


def _resized(mask: Rle, like: Rle) -> np.ndarray:
    """Decoded and stretched to another mask's size."""
    mask_HW = rle.decode(mask)
    if (mask.height, mask.width) == (like.height, like.width):
        return mask_HW
    return cv2.resize(mask_HW.astype(np.uint8), (like.width, like.height), interpolation=cv2.INTER_NEAREST) > 0
