"""An image in the frame that an LMM's boxes will be in, and the way back to the original's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ivm_data.experts.common.frame import Frame, whole
from ivm_data.experts.common.padding import padded_image
from ivm_data.experts.lmms.box_answers import BoxAnswer, BoxFormat, read_boxes
from ivm_data.experts.lmms.whole_image import Crop, padded, resized

MIN_PIXELS = 56 * 56
"""Of an image as it is shown; Qwen's processors enlarge a smaller one."""
LEAST_MAX_PIXELS = 28 * 28 * 64
MAX_ASPECT = 50
"""A narrower image is padded: Qwen's resizing is stable where the short side of `LEAST_MAX_PIXELS` has 28 pixels."""


@dataclass(frozen=True)
class ShownImage:
    """An image as the LMM is shown it.

    Attributes:
        image_HWC: uint8 RGB.
        frame: where the original lies in it.
    """

    image_HWC: np.ndarray
    frame: Frame

    def read(self, answer: str, form: BoxFormat, seen: Frame | None = None) -> BoxAnswer:
        """The boxes of an answer about this view that have a part in the original: that part, in its pixels.

        Args:
            seen: where the view lay in what the LMM saw of it; None where it saw the view itself.

        Raises:
            AnswerError: it says nothing of boxes that can be read.
        """
        seen = seen or whole(*self.frame.size)
        found = read_boxes(answer, form, *seen.size)
        boxes = [self.frame.to_original(seen.to_original(box)) for box in found.boxes]
        return BoxAnswer([box for box in boxes if box.area > 0], found.unread)


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
    original = (image_HWC.shape[1], image_HWC.shape[0])
    return ShownImage(
        resized(whole_HWC, width, height), Frame((width, height), original, (whole_w / width, whole_h / height))
    )


def _padded_view(image_HWC: np.ndarray, max_pixels: int) -> ShownImage:
    """Shrunk where its square would have more than `max_pixels`."""
    height, width = image_HWC.shape[:2]
    shrink = min(1.0, int(max_pixels**0.5) / max(height, width))
    inner_w, inner_h = max(1, round(width * shrink)), max(1, round(height * shrink))
    inner_HWC, frame = resized(image_HWC, inner_w, inner_h), whole(width, height).resized(inner_w, inner_h)
    return ShownImage(*padded(inner_HWC, frame, Crop()))
