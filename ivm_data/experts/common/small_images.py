"""Many masks of one image at once: on a smaller copy where the image is very large."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ivm_data.experts.common.protocols import check_lengths
from storage.request import Request

MAX_PIXELS = 1 << 21
"""A hundred masks of 12,000 x 9,000 pixels would take 10 GiB; a SAM draws them with 256 x 256 all the same."""

Propose = Callable[[Sequence[np.ndarray], Sequence[Request]], list[tuple[np.ndarray, float]]]


def propose_on_small(
    propose: Propose, images: Sequence[np.ndarray], requests: Sequence[Request]
) -> list[tuple[np.ndarray, float]]:
    """What `propose` answers about copies of at most `MAX_PIXELS`; its masks in the images' own size.

    An image that is small enough is passed on as the same object, and so is one copy for all its instructions.
    """
    check_lengths(images, requests, "request")
    small = {id(image_HWC): _shrunk(image_HWC) for image_HWC in images}
    answers = propose([small[id(image_HWC)] for image_HWC in images], requests)
    return [(_resized(mask_HW, image_HWC), score) for image_HWC, (mask_HW, score) in zip(images, answers, strict=True)]


def _shrunk(image_HWC: np.ndarray) -> np.ndarray:
    height, width = image_HWC.shape[:2]
    if height * width <= MAX_PIXELS:
        return image_HWC
    shrink = (MAX_PIXELS / (height * width)) ** 0.5
    size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
    return cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)


def _resized(mask_HW: np.ndarray, image_HWC: np.ndarray) -> np.ndarray:
    height, width = image_HWC.shape[:2]
    if mask_HW.shape == (height, width):
        return mask_HW
    return cv2.resize(mask_HW.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
