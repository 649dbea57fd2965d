"""Masks as polygons that run along the edges of pixels, so that filling them gives the same mask back.

Vertices are corners of pixels: a single pixel at (x, y) is the square from (x, y) to (x + 1, y + 1). pycocotools and
rlemasklib fill by the even-odd rule and take such polygons exactly.
"""

from __future__ import annotations

import cv2
import numpy as np

from storage.pixels import rle
from storage.records import Rle


def polygons(mask: Rle, tolerance: float = 0.0) -> list[np.ndarray]:
    """One polygon for each 4-connected component, (N, 2) float64 (x, y); none for an empty mask.

    A hole is part of its component's polygon: a cut of no width leads to it and back, which the even-odd rule ignores.

    Args:
        tolerance: pixels by which vertices may be left out (Douglas and Peucker); 0 is exact.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")
    mask_HW = rle.decode(mask)
    _, component_HW = cv2.connectedComponents(mask_HW.astype(np.uint8), connectivity=4)
    parts: dict[int, list[np.ndarray]] = {}
    for ring_N2 in _rings(mask_HW):
        x, y = ring_N2[0]
        # A ring starts at its top left corner: an outline's pixel lies below that, and above a hole's is its owner.
        owner = component_HW[y, x] if mask_HW[y, x] else component_HW[y - 1, x]
        parts.setdefault(int(owner), []).append(_simplified(ring_N2, tolerance))
    return [join(rings) for rings in parts.values()]


def join(rings: list[np.ndarray]) -> np.ndarray:
    """One polygon of several: each is reached from the nearest vertex, by a cut of no width."""
    whole_N2, *others = rings
    for ring_N2 in others:
        at = int(np.square(whole_N2 - ring_N2[0]).sum(axis=1).argmin())
        whole_N2 = np.concatenate([whole_N2[: at + 1], ring_N2, ring_N2[:1], whole_N2[at:]])
    return whole_N2


def _rings(mask_HW: np.ndarray) -> list[np.ndarray]:
    """Closed outlines, outer ones and holes, (N, 2) int64, by their top left corner, from which each starts."""
    x_N, y_N, across_N, along_N = _corners(mask_HW)
    rings, open_N = [], np.ones(len(x_N), bool)
    for first in np.lexsort((x_N, y_N)).tolist():
        if not open_N[first]:
            continue
        ring, at = [], first
        while open_N[at]:
            ring += [at, int(across_N[at])]
            open_N[ring[-2:]] = False
            at = int(along_N[ring[-1]])
        rings.append(np.stack([x_N[ring], y_N[ring]], axis=1))
    return rings


def _corners(mask_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, next corner along its row, next corner along its column) of each corner of the outlines.

    In a row, and in a column, corners in order are the ends of edges two by two. Where pixels meet only diagonally two
    corners lie on one point; they are told apart so that neither outline crosses from one pixel into the other.
    """
    a, b, c, d = (np.pad(mask_HW, 1)[rows, columns] for rows, columns in _QUARTERS)
    y_N, x_N = np.nonzero(a ^ b ^ c ^ d)
    y_M, x_M = np.nonzero((a == d) & (b == c) & (a != b))
    falling_M = a[y_M, x_M]
    x_N, y_N = np.concatenate([x_N, x_M, x_M]), np.concatenate([y_N, y_M, y_M])
    none = np.zeros(len(x_N) - 2 * len(x_M), np.int64)
    by_row = np.lexsort((np.concatenate([none, 0 * x_M, 0 * x_M + 1]), x_N, y_N))
    by_column = np.lexsort((np.concatenate([none, ~falling_M, falling_M]), y_N, x_N))
    return x_N, y_N, _partners(by_row), _partners(by_column)


_FIRST, _LAST = slice(None, -1), slice(1, None)
_QUARTERS = ((_FIRST, _FIRST), (_FIRST, _LAST), (_LAST, _FIRST), (_LAST, _LAST))


def _partners(order_N: np.ndarray) -> np.ndarray:
    partner_N = np.empty_like(order_N)
    partner_N[order_N[::2]], partner_N[order_N[1::2]] = order_N[1::2], order_N[::2]
    return partner_N


def _simplified(ring_N2: np.ndarray, tolerance: float) -> np.ndarray:
    if not tolerance:
        return ring_N2.astype(np.float64)
    fewer = cv2.approxPolyDP(ring_N2.astype(np.int32)[:, None], tolerance, closed=True)[:, 0]
    return (fewer if len(fewer) > 2 else ring_N2).astype(np.float64)
