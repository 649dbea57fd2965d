"""Colours in which a mask can be seen, whatever lies under it."""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""RGB, uint8."""

VIVID: tuple[Colour, ...] = (
    (255, 43, 214), (0, 229, 255), (255, 230, 0), (57, 255, 20), (255, 90, 0), (70, 90, 255),
)  # fmt: skip
"""Magenta, cyan, yellow, green, orange, blue."""

_NEAR = 5
"""Percentile of the distances that a colour is chosen by: a few pixels of its own colour do not rule it out."""

_SIDE = 128
"""Longer side in pixels at which colours are compared."""


def distinct(image_HWC: np.ndarray, mask_HW: np.ndarray) -> tuple[Colour, Colour]:
    """Two of `VIVID` that lie far from the pixels under and around a mask, and from each other.

    Args:
        image_HWC: uint8 RGB.
        mask_HW: bool; an empty one stands for the whole image.

    Returns:
        For the mask and for what is laid over it: the distance is CIE 1976 of L*a*b*.
    """
    scale = min(1.0, _SIDE / max(mask_HW.shape))
    size = [max(1, round(side * scale)) for side in mask_HW.shape[::-1]]
    small_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
    near_HW = cv2.resize(mask_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    near_HW = cv2.dilate(near_HW, np.ones((5, 5), np.uint8)).astype(bool)
    beneath_N3 = _lab(small_HWC[near_HW] if near_HW.any() else small_HWC.reshape(-1, 3))
    vivid_C3 = _lab(np.array(VIVID, np.uint8))
    beneath_C = [np.percentile(np.linalg.norm(beneath_N3 - one, axis=1), _NEAR) for one in vivid_C3]
    best = int(np.argmax(beneath_C))
    second = np.minimum(beneath_C, np.linalg.norm(vivid_C3 - vivid_C3[best], axis=1))
    return VIVID[best], VIVID[int(np.argmax(second))]


def _lab(rgb_N3: np.ndarray) -> np.ndarray:
    rgb_N13 = rgb_N3[:, None].astype(np.float32) / 255
    return cv2.cvtColor(rgb_N13, cv2.COLOR_RGB2LAB).reshape(-1, 3)
