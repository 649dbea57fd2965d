"""Right and wrong masks and boxes of a scene, as experts make them: what the verifier learns from and is scored on."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ivm_data.worlds.scene import Scene, Thing
from ivm_model.metrics.mask_scores import overlap
from storage.records import Box

CORRUPTIONS = ("wrong", "extra", "missing", "shifted", "partial", "loose", "empty", "whole")
"""Another thing; one thing too many; one of several left out; moved; cut; far too wide; nearly nothing; everything."""
OBJECT_LEVEL = ("wrong", "extra", "missing")
"""Corruptions that change which things are kept; the others change the outline."""
GOOD_IOU, CORRUPTED_IOU = 0.8, 0.5
"""A mask overlaps the truth at least so much to be good, at most so much to be corrupted; between lies no label."""
_TRIES = 6
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


def union(scene: Scene, kept: Iterable[int]) -> np.ndarray:
    """Mask HW bool of several things."""
    mask_HW = np.zeros(scene.image_HWC.shape[:2], bool)
    for i in kept:
        mask_HW |= scene.things[i].mask_HW
    return mask_HW


def box_around(mask_HW: np.ndarray) -> Box:
    """Tight box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def imperfect(mask_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a good segmenter draws it: exact, or off by a pixel, with IoU >= GOOD_IOU."""
    way = rng.integers(5)
    if way == 0:
        drawn_HW = cv2.erode(mask_HW.astype(np.uint8), _DISC)
    elif way == 1:
        drawn_HW = cv2.dilate(mask_HW.astype(np.uint8), _DISC)
    elif way == 2:
        drawn_HW = cv2.medianBlur(mask_HW.astype(np.uint8), 5)
    elif way == 3:
        drawn_HW = _moved(mask_HW, int(rng.integers(-1, 2)), int(rng.integers(-1, 2)))
    else:
        return mask_HW
    drawn_HW = drawn_HW.astype(bool)
    return drawn_HW if overlap(drawn_HW, mask_HW).iou >= GOOD_IOU else mask_HW


def other_things(scene: Scene, targets: tuple[int, ...], corruption: str, rng: np.random.Generator) -> set[int] | None:
    """Which things an object-level corruption keeps; None where the scene does not allow it."""
    rest = [i for i in range(len(scene.things)) if i not in targets]
    if corruption == "missing":
        if len(targets) < 2:
            return None
        kept = rng.permutation(targets)[: rng.integers(1, len(targets))]
        return {int(i) for i in kept}
    if not rest:
        return None
    if corruption == "extra":
        return {*targets, _alike(scene, targets, rest, rng)}
    replaced = int(rng.choice(targets)) if targets else None
    return {*(i for i in targets if i != replaced), _alike(scene, targets, rest, rng)}


def corrupted_outline(mask_HW: np.ndarray, corruption: str, rng: np.random.Generator) -> np.ndarray | None:
    """A mask with IoU <= CORRUPTED_IOU to a true one; None where no try gave one."""
    if corruption == "whole":
        return np.ones_like(mask_HW) if mask_HW.mean() <= CORRUPTED_IOU else None
    for _ in range(_TRIES):
        candidate_HW = _CORRUPT[corruption](mask_HW, rng)
        if overlap(candidate_HW, mask_HW).iou <= CORRUPTED_IOU:
            return candidate_HW
    return None


def likeness(a: Thing, b: Thing) -> int:
    """How many of the four words two things share."""
    return (a.shape == b.shape) + (a.colour == b.colour) + (a.size == b.size) + (a.texture == b.texture)


def jittered(box: Box, rng: np.random.Generator, share: float = 0.08) -> Box:
    """A box as a detector draws it: each edge off by a share of its side."""
    width, height = box.x1 - box.x0, box.y1 - box.y0
    dx0, dx1 = rng.normal(0, share * width, 2)
    dy0, dy1 = rng.normal(0, share * height, 2)
    return Box(box.x0 + dx0, box.y0 + dy0, max(box.x1 + dx1, box.x0 + dx0 + 4), max(box.y1 + dy1, box.y0 + dy0 + 4))


def bare_box(labels_HW: np.ndarray, rng: np.random.Generator) -> Box | None:
    """A square with no thing in it; None where no try found one."""
    side = int(rng.integers(14, 40))
    for _ in range(5):
        y, x = (int(rng.integers(0, size - side)) for size in labels_HW.shape)
        if not labels_HW[y : y + side, x : x + side].any():
            return Box(x, y, x + side, y + side)
    return None


def _alike(scene: Scene, targets: tuple[int, ...], rest: list[int], rng: np.random.Generator) -> int:
    """One of the rest: half the time the most alike to a target, else any."""
    if not targets or rng.random() < 0.5:
        return int(rng.choice(rest))
    target = scene.things[rng.choice(targets)]
    return max(map(int, rng.permutation(rest)), key=lambda i: likeness(scene.things[i], target))


def _shifted(mask_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = np.sqrt(mask_HW.sum())
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2) * side
    return _moved(mask_HW, round(far * np.cos(angle)), round(far * np.sin(angle)))


def _moved(mask_HW: np.ndarray, dx: int, dy: int) -> np.ndarray:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return cv2.warpAffine(mask_HW.astype(np.uint8), matrix, mask_HW.shape[::-1]).astype(bool)


def _partial(mask_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep what lies on one side of a line."""
    ys, xs = np.nonzero(mask_HW)
    angle = rng.uniform(0, 2 * np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    keep = along <= np.quantile(along, rng.uniform(0.2, 0.48))
    part_HW = np.zeros_like(mask_HW)
    part_HW[ys[keep], xs[keep]] = True
    return part_HW


def _loose(mask_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    reach = int(rng.integers(7, 25)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE if rng.random() < 0.5 else cv2.MORPH_RECT, (reach, reach))
    return cv2.dilate(mask_HW.astype(np.uint8), kernel).astype(bool)


def _empty(mask_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nothing, or a speck somewhere."""
    speck_HW = np.zeros_like(mask_HW)
    if rng.random() < 0.7:
        y, x = (int(rng.integers(size)) for size in mask_HW.shape)
        speck_HW[y : y + int(rng.integers(1, 7)), x : x + int(rng.integers(1, 7))] = True
    return speck_HW


_CORRUPT = {"shifted": _shifted, "partial": _partial, "loose": _loose, "empty": _empty}
