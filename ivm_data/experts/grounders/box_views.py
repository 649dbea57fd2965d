"""An image in the frame that an LMM's boxes will be in, and the way back to the original's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ivm_data.experts.common.padding import padded_image
from ivm_data.experts.lmms.box_answers import BoxAnswer, BoxFormat, read_boxes
from storage.records import Box

MIN_PIXELS = 56 * 56
"""Of an image as it is shown; Qwen's processors enlarge a smaller one."""
LEAST_MAX_PIXELS = 28 * 28 * 64
MAX_ASPECT = 50
"""A narrower image is padded: Qwen's resizing is stable where the short side of `LEAST_MAX_PIXELS` has 28 pixels."""
PADDING = (122, 116, 104)
"""RGB around an image that LLaVA pads to a square: the mean of CLIP's training images."""


@dataclass(frozen=True)
class ShownImage:
    """An image as the LMM is shown it.

    Attributes:
        image_HWC: uint8 RGB.
        original_hw: (height, width) of the original.
        scale: pixels of the original for each pixel of the view, (x, y).
        offset: pixels of the view before the original's left and top edge, (x, y).
    """

    image_HWC: np.ndarray
    original_hw: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int] = (0, 0)

    def read(self, answer: str, form: BoxFormat) -> BoxAnswer:
        """The boxes of an answer about this view that have a part in the original: that part, in its pixels.

        Raises:
            AnswerError: it says nothing of boxes that can be read.
        """
        height, width = self.image_HWC.shape[:2]
        found = read_boxes(answer, form, width, height)
        boxes = [self._original(box) for box in found.boxes]
        return BoxAnswer([box for box in boxes if box.area > 0], found.unread)

    def _original(self, box: Box) -> Box:
        height, width = self.original_hw
        x0, x1 = (min(max((x - self.offset[0]) * self.scale[0], 0.0), width) for x in (box.x0, box.x1))
        y0, y1 = (min(max((y - self.offset[1]) * self.scale[1], 0.0), height) for y in (box.y0, box.y1))
        return Box(x0, y0, x1, y1)


def show(image_HWC: np.ndarray, form: BoxFormat, max_pixels: int) -> ShownImage:
    """An image in the frame that the model's boxes will be in, in process or behind an endpoint.

    Qwen2.5-VL writes pixels of what its processor makes of an image. So the image is resized here as the processor
    would; an image of the right size passes through it unchanged. LLaVA and Visual CoT write shares of a square, so
    it is padded to one here, in the middle as `expand2square` does.
    """
    if form == "normalised":
        return _padded_view(image_HWC, max_pixels)
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    whole_HWC = padded_image(image_HWC, MAX_ASPECT)
    whole_h, whole_w = whole_HWC.shape[:2]
    height, width = smart_resize(whole_h, whole_w, min_pixels=MIN_PIXELS, max_pixels=max_pixels)
    scale = (whole_w / width, whole_h / height)
    return ShownImage(_resized(whole_HWC, width, height), (image_HWC.shape[0], image_HWC.shape[1]), scale)


def _padded_view(image_HWC: np.ndarray, max_pixels: int) -> ShownImage:
    """Shrunk where its square would have more than `max_pixels`."""
    height, width = image_HWC.shape[:2]
    shrink = min(1.0, int(max_pixels**0.5) / max(height, width))
    inner_w, inner_h = max(1, round(width * shrink)), max(1, round(height * shrink))
    side = max(inner_w, inner_h)
    left, top = (side - inner_w) // 2, (side - inner_h) // 2
    square_SSC = np.full((side, side, 3), PADDING, np.uint8)
    square_SSC[top : top + inner_h, left : left + inner_w] = _resized(image_HWC, inner_w, inner_h)
    return ShownImage(square_SSC, (height, width), (width / inner_w, height / inner_h), (left, top))


def _resized(image_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BICUBIC))
