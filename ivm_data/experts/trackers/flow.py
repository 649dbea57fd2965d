"""A tracker of dense optical flow (OpenCV's DIS, Kroeger et al., 2016): no weights; it follows what stays in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from storage.common.validation import Checked, Positive

_BLUR = 1.5
"""Sigma in pixels, over which differences of colour are averaged."""


@dataclass(frozen=True)
class FlowConfig(Checked):
    """When a pixel's motion is believed; else it was covered, and belongs to no mask.

    Attributes:
        slack: pixels by which the way there and back may miss the start.
        alike: levels of 255 by which a pixel and where it was may differ, in any channel, after a blur.
    """

    slack: Positive = 1.5
    alike: Positive = 60.0


class Flow:
    """Tracker: each pixel takes the mask of where the flow says that it was one frame before."""

    name = "flow@1"

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    def load(self) -> None:
        """There are no weights to read."""

    def carry(self, images: Sequence[np.ndarray], mask_HW: np.ndarray) -> list[np.ndarray]:
        """See `Tracker`. A thing that was hidden does not come back."""
        masks = [mask_HW.astype(bool)]
        share_HW = mask_HW.astype(np.float32)
        for before_HWC, now_HWC in pairwise(images):
            share_HW = self._moved(before_HWC, now_HWC, share_HW)
            masks.append(share_HW >= 0.5)
        return masks

    def _moved(self, before_HWC: np.ndarray, now_HWC: np.ndarray, share_HW: np.ndarray) -> np.ndarray:
        """The shares of a mask at the pixels of the next frame."""
        before_HW, now_HW = (cv2.cvtColor(image_HWC, cv2.COLOR_RGB2GRAY) for image_HWC in (before_HWC, now_HWC))
        back_HW2, there_HW2 = _flow(now_HW, before_HW), _flow(before_HW, now_HW)
        rows_HW, columns_HW = np.indices(now_HW.shape, dtype=np.float32)
        at_x, at_y = columns_HW + back_HW2[..., 0], rows_HW + back_HW2[..., 1]
        moved_HW = cv2.remap(share_HW, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        returned_HW2 = cv2.remap(there_HW2, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        was_HWC = cv2.remap(before_HWC, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        differs_HW = cv2.GaussianBlur(cv2.absdiff(was_HWC, now_HWC).max(axis=2).astype(np.float32), (0, 0), _BLUR)
        moved_HW[np.linalg.norm(back_HW2 + returned_HW2, axis=2) > self.config.slack] = 0.0
        moved_HW[differs_HW > self.config.alike] = 0.0
        return moved_HW


def _flow(from_HW: np.ndarray, to_HW: np.ndarray) -> np.ndarray:
    """Motion in pixels (x, y), HW2 float32; an image too small for the method's patches does not move."""
    if min(from_HW.shape) < 16:
        return np.zeros((*from_HW.shape, 2), np.float32)
    motion_HW2: np.ndarray = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(from_HW, to_HW, None)  # type: ignore[call-overload]
    return motion_HW2
