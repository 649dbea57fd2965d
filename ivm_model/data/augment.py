"""Joint changes of image and mask, the same again for the same (seed, epoch, sample)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np

from storage.common.validation import Checked, Share, within

SIDES = re.compile(r"\b(left|right|clockwise|counterclockwise|anticlockwise|east|west|mirror\w*)\b", re.IGNORECASE)
"""Words that make an instruction false on a mirrored image."""
WRITING = re.compile(
    r"\b(read\w*|text|word\w*|letter\w*|number\w*|digit\w*|sign|say|says|writ\w*|spell\w*|time)\b", re.IGNORECASE
)
"""Words that ask for something that cannot be read on a mirrored image."""
PLACES = re.compile(
    r"\b(middle|cent(er|re)\w*|corner\w*|edge|top\w*|bottom\w*|upper\w*|lower\w*|first|second|third|last|"
    r"\w+(most|est)|front|behind|background|foreground|all|every|how many|count)\b",
    re.IGNORECASE,
)
"""Words whose answer may change with what a crop leaves in the image."""


@dataclass(frozen=True)
class AugmentConfig(Checked):
    """How much images are changed; all 0 by default, which changes nothing.

    Attributes:
        flip: probability of a mirrored image, where the instruction names no side and asks for nothing written.
        crop: probability of a crop, where the instruction names no place; a crop keeps the whole mask.
        smallest: least share of the sides that a crop keeps.
        colour: greatest relative change of brightness, contrast and saturation.
    """

    flip: Share = 0.0
    crop: Share = 0.0
    smallest: Annotated[float, within("(0, 1]")] = 0.6
    colour: Annotated[float, within("[0, 1)")] = 0.0

    @property
    def active(self) -> bool:
        """Something is changed."""
        return max(self.flip, self.crop, self.colour) > 0


def augment(
    image_HWC: np.ndarray, mask_HW: np.ndarray, instruction: str, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Change an image and its mask together.

    Args:
        image_HWC: uint8 RGB.
        mask_HW: of the same size, any dtype.

    Returns:
        Image and mask, of one size, in C order.
    """
    # All chances are drawn, whether they are used or not: one option does not change what another draws.
    flip, crop, *box = rng.random(6)
    change_3 = rng.uniform(1 - config.colour, 1 + config.colour, 3)
    if crop < config.crop and not PLACES.search(instruction) and not SIDES.search(instruction):
        y0, x0, y1, x1 = _crop_box(mask_HW, config.smallest, np.array(box))
        image_HWC, mask_HW = image_HWC[y0:y1, x0:x1], mask_HW[y0:y1, x0:x1]
    if flip < config.flip and not SIDES.search(instruction) and not WRITING.search(instruction):
        image_HWC, mask_HW = image_HWC[:, ::-1], mask_HW[:, ::-1]
    if config.colour:
        image_HWC = _recolour(np.ascontiguousarray(image_HWC), change_3)
    return np.ascontiguousarray(image_HWC), np.ascontiguousarray(mask_HW)


def _crop_box(mask_HW: np.ndarray, smallest: float, chance_4: np.ndarray) -> tuple[int, int, int, int]:
    """A random box (top, left, bottom, right) around the whole mask, each side at least `smallest` of the image's."""
    bounds = []
    for axis in (0, 1):
        length = mask_HW.shape[axis]
        (covered,) = np.nonzero(mask_HW.any(1 - axis))
        low, high = (covered[0], covered[-1] + 1) if len(covered) else (length, 0)
        size = max(round(length * (smallest + (1 - smallest) * float(chance_4[axis]))), high - low, 1)
        first, last = max(0, high - size), min(length - size, low)
        start = first + int(chance_4[axis + 2] * (max(first, last) - first + 1))
        bounds.append((min(start, length - size), min(start, length - size) + size))
    (y0, y1), (x0, x1) = bounds
    return y0, x0, y1, x1


def _recolour(image_HWC: np.ndarray, change_3: np.ndarray) -> np.ndarray:
    """Brightness, contrast about the mean, and saturation about the grey value, times `change_3`."""
    brightness, contrast, saturation = change_3.astype(np.float32)
    float_HWC = image_HWC.astype(np.float32) * brightness
    float_HWC = (float_HWC - float_HWC.mean()) * contrast + float_HWC.mean()
    grey_HW1 = cv2.cvtColor(float_HWC, cv2.COLOR_RGB2GRAY)[..., None]
    jittered_HWC: np.ndarray = np.clip((float_HWC - grey_HW1) * saturation + grey_HW1, 0, 255).round().astype(np.uint8)
    return jittered_HWC
