"""Colours in which a mask can be seen, whatever lies under it."""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""RGB, uint8."""

VIVID: tuple[Colour, ...] = (
    (255, 43, 214), (0, 229, 255), (255, 230, 0), (57, 255, 20), (255, 90, 0),
)  # fmt: skip
"""Magenta, cyan, yellow, green, orange; no blue, which is as dark as much of what a photograph shows."""

_NEAR = 5
"""Percentile of the distances that a colour is chosen by: a few pixels of its own colour do not rule it out."""
_ELSEWHERE = 1
"""The same of all pixels of the image: a thing of the colour that is elsewhere may be small."""

_SIDE = 128
"""Longer side in pixels at which colours are compared."""


def distinct(image_HWC: np.ndarray, mask_HW: np.ndarray) -> tuple[Colour, Colour]:
    """Two of `VIVID` that lie far from the pixels under and around a mask, from the rest of the image, and apart.

    Args:
        image_HWC: uint8 RGB.
        mask_HW: bool; an empty one stands for the whole image.

    Returns:
        For the mask and for what is laid over it. The distance is CIE 1976 of L*a*b*; that from the whole image counts
        half.
    """
    scale = min(1.0, _SIDE / max(mask_HW.shape))
    size = [max(1, round(side * scale)) for side in mask_HW.shape[::-1]]
    lab_HW3 = _lab(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA))
    near_HW = cv2.resize(mask_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    near_HW = cv2.dilate(near_HW, np.ones((5, 5), np.uint8)).astype(bool)
    vivid_C3 = _lab(np.array([VIVID], np.uint8))[0]
    apart_HWC = np.stack([np.linalg.norm(lab_HW3 - one, axis=2) for one in vivid_C3], axis=2)
    beneath_C = np.percentile(apart_HWC[near_HW] if near_HW.any() else apart_HWC.reshape(-1, len(VIVID)), _NEAR, axis=0)
    score_C = beneath_C + np.percentile(apart_HWC, _ELSEWHERE, axis=(0, 1)) / 2
    best = int(np.argmax(score_C))
    second_C = np.minimum(score_C, np.linalg.norm(vivid_C3 - vivid_C3[best], axis=1))
    return VIVID[best], VIVID[int(np.argmax(second_C))]


def _lab(rgb_HW3: np.ndarray) -> np.ndarray:
    lab_HW3: np.ndarray = cv2.cvtColor(rgb_HW3.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab_HW3
