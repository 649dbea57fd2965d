"""Deliberately wrong masks for human images: what the discriminator must learn not to call human."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MOST_IOU = 0.7
"""A mask that overlaps the true one this much is not wrong enough to teach with."""
TRIES = 8


def shifted(mask_HW: np.ndarray, other_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask moved by half to one and a half of its own extent; what leaves the image is lost."""
    extent = np.array([np.ptp(np.flatnonzero(mask_HW.any(axis))) + 1 for axis in (1, 0)])
    angle = rng.uniform(0, 2 * np.pi)
    height, width = mask_HW.shape
    move = np.rint(extent * rng.uniform(0.5, 1.5) * (np.sin(angle), np.cos(angle)))
    dy, dx = np.clip(move, (-height, -width), (height, width)).astype(int)
    moved_HW = np.zeros_like(mask_HW)
    inside = mask_HW[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    moved_HW[max(0, dy) : max(0, dy) + inside.shape[0], max(0, dx) : max(0, dx) + inside.shape[1]] = inside
    return moved_HW


def elsewhere(mask_HW: np.ndarray, other_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another mask in its place."""
    return other_HW


def extra(mask_HW: np.ndarray, other_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask and something that is not needed."""
    both_HW: np.ndarray = mask_HW | other_HW
    return both_HW


def cut(mask_HW: np.ndarray, other_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A third to a half of the mask, on one side of a line."""
    ys, xs = np.nonzero(mask_HW)
    angle = rng.uniform(0, 2 * np.pi)
    along = ys * np.sin(angle) + xs * np.cos(angle)
    kept = along <= np.quantile(along, rng.uniform(0.33, 0.5))
    cut_HW = np.zeros_like(mask_HW)
    cut_HW[ys[kept], xs[kept]] = True
    return cut_HW


def absent(mask_HW: np.ndarray, other_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nothing: the statement that there is no target."""
    return np.zeros_like(mask_HW)


WRONG: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    each.__name__: each for each in (elsewhere, extra, shifted, cut, absent)
}
"""Ways of being wrong, by name; each takes the true mask, another mask of the same size, and randomness."""


def wrong_mask(way: str, mask_HW: np.ndarray, others: list[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """A mask that is wrong in a given way, with IoU below MOST_IOU; None where none comes up.

    Args:
        way: a key of WRONG.
        mask_HW: the true mask, bool; for an empty one, only "elsewhere" and "extra" can be wrong.
        others: bool masks of the same size to borrow from, best of other things in the same image.
    """
    if not others or (not mask_HW.any() and way in ("shifted", "cut", "absent")):
        return None
    for _ in range(TRIES):
        wrong_HW = WRONG[way](mask_HW, others[rng.integers(len(others))], rng)
        union = (wrong_HW | mask_HW).sum()
        if union and (wrong_HW & mask_HW).sum() < MOST_IOU * union:
            return wrong_HW
    return None
