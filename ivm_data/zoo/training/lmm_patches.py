"""What each patch of a view shows: the dense targets that teach the tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ivm_data.worlds.scene import ATTRIBUTES
from ivm_data.zoo.training.lmm_model import Size
from ivm_data.zoo.training.lmm_views import SceneView

IGNORED = -100
CONTRASTS = ("thing", "ground")
AMOUNTS = 3
"""How much of a patch's thing, and of its background, is at full contrast: nothing, a part, all."""
OUTLINE = 8
"""A patch's outline target has OUTLINE x OUTLINE cells: thing or background."""
EXTENT = 4
"""A patch's extent target: XYXY of its thing's visible pixels around the patch's centre, in units of half the image."""
_LEAST_SHARE = 0.12
"""Share of a patch that a thing must cover to name it."""


@dataclass(frozen=True)
class Patches:
    """Dense targets of a batch of B views, patches in raster order.

    Attributes:
        word_BPH: for each of ATTRIBUTES 0 for no thing, else 1 + the word; for each of CONTRASTS the amount. IGNORED
            where there is no target: contrast is asked of dimmed views only, colour of none in false colours.
        outline_BPS: float, 1 where a cell of the patch shows a thing.
        extent_BP4: float, NaN where the patch shows no thing.
    """

    word_BPH: torch.Tensor
    outline_BPS: torch.Tensor
    extent_BP4: torch.Tensor

    @classmethod
    def of(cls, views: Sequence[SceneView], size: Size) -> Patches:
        """The targets of views, whatever their own sizes."""
        stacked = (np.stack(targets) for targets in zip(*(_targets(view, size) for view in views), strict=True))
        return cls(*(torch.from_numpy(targets) for targets in stacked))


def covering(view: SceneView, size: Size) -> np.ndarray:
    """(things, patches) bool: which thing covers enough of which patch to be named there."""
    return _covered(_cells(view.instance_HW, size), view)[1:] >= _LEAST_SHARE * size.patch**2


def _targets(view: SceneView, size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    resized_HW = cv2.resize(view.instance_HW, (size.image, size.image), interpolation=cv2.INTER_NEAREST)
    labels = _cells(resized_HW, size)
    covered_KP = _covered(labels, view)
    main_P = covered_KP[1:].argmax(0) + 1
    named_P = covered_KP[1:].max(0) >= _LEAST_SHARE * size.patch**2
    words = [
        np.array([0, *(options.index(getattr(thing, name)) + 1 for thing in view.scene.things)])
        for name, options in ATTRIBUTES.items()
    ]
    if view.recoloured:
        words[list(ATTRIBUTES).index("colour")][:] = IGNORED
    contrast = _contrast(view, labels, covered_KP, np.where(named_P, main_P, 0), size)
    word_PH = np.stack([*(np.where(named_P, of_thing[main_P], 0) for of_thing in words), *contrast], 1)
    step = size.patch // OUTLINE
    outline_PS = labels.reshape(-1, size.patch, size.patch)[:, step // 2 :: step, step // 2 :: step] > 0
    outline_PS = outline_PS.reshape(len(labels), -1).astype(np.float32)
    return word_PH, outline_PS, _extent(resized_HW, main_P, named_P, size)


def _covered(labels: np.ndarray, view: SceneView) -> np.ndarray:
    """(1 + things, patches): pixels of background and of each thing in each patch."""
    return np.stack([(labels == k).sum(1) for k in range(len(view.scene.things) + 1)])


def _contrast(
    view: SceneView, labels: np.ndarray, covered_KP: np.ndarray, thing_P: np.ndarray, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each patch's thing and background is kept; IGNORED where there is none, or no mask."""
    if view.kept_HW is None:
        ignored_P = np.full(len(labels), IGNORED)
        return ignored_P, ignored_P
    kept = _cells(view.kept_HW.astype(np.uint8), size) > 0
    of_thing_P = (kept & (labels == thing_P[:, None])).sum(1)
    whole_P = covered_KP[thing_P, np.arange(len(labels))]
    wide_P = covered_KP[0] >= _LEAST_SHARE * size.patch**2
    return _amount(of_thing_P, whole_P, thing_P > 0), _amount((kept & (labels == 0)).sum(1), covered_KP[0], wide_P)


def _extent(resized_HW: np.ndarray, main_P: np.ndarray, named_P: np.ndarray, size: Size) -> np.ndarray:
    grid, half = size.image // size.patch, size.image / 2
    y_P, x_P = (np.mgrid[:grid, :grid].reshape(2, -1) + 0.5) * size.patch
    extent_P4 = np.full((grid * grid, EXTENT), np.nan, np.float32)
    for k in np.unique(main_P[named_P]):
        ys, xs = np.flatnonzero((resized_HW == k).any(1)), np.flatnonzero((resized_HW == k).any(0))
        at = named_P & (main_P == k)
        extent_P4[at] = np.stack([xs[0] - x_P, ys[0] - y_P, xs[-1] + 1 - x_P, ys[-1] + 1 - y_P], 1)[at] / half
    return extent_P4


def _amount(kept_P: np.ndarray, whole_P: np.ndarray, asked_P: np.ndarray) -> np.ndarray:
    """0 where under 15 % is kept, 2 where over 85 %, 1 between."""
    share_P = kept_P / np.maximum(whole_P, 1)
    return np.where(asked_P, (share_P > 0.15).astype(np.int64) + (share_P > 0.85), IGNORED)


def _cells(labels_HW: np.ndarray, size: Size) -> np.ndarray:
    """(patches, pixels of a patch) of a label map, resized to the input."""
    grid = size.image // size.patch
    resized = cv2.resize(labels_HW, (size.image, size.image), interpolation=cv2.INTER_NEAREST)
    return resized.reshape(grid, size.patch, grid, size.patch).swapaxes(1, 2).reshape(grid * grid, -1)
