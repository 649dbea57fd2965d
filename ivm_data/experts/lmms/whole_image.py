"""An image as an LMM is given it: no more pixels than it should read, and nothing that its processor would cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from PIL import Image

from ivm_data.experts.common.frame import Frame
from ivm_data.experts.common.padding import padded_image
from storage.common.validation import at_least

MaxPixels = Annotated[int, at_least(64 * 64)]
"""A config's bound on the pixels of an image."""
MAX_PIXELS = 1_000_000
"""Some 1,300 tokens of a Qwen-VL; a photograph of 12 million pixels would be 15,600."""
MAX_ASPECT = 100
"""A narrower image is padded: Qwen's processors refuse one of more than 200."""
CLIP_MEAN = (122, 116, 104)
"""RGB with which LLaVA pads: the mean of CLIP's training images."""


@dataclass(frozen=True)
class Crop:
    """What a processor cuts out of the middle of an image.

    Attributes:
        is_square: it resizes the short side, so that only a square is seen whole.
        share: of the resized width and height that it keeps, (x, y), each in (0, 1].
        colour: RGB that it takes for the mean of all images.
    """

    is_square: bool = True
    share: tuple[float, float] = (1.0, 1.0)
    colour: tuple[int, int, int] = CLIP_MEAN

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the picture around an image whose middle part is the whole image."""
        wide, high = width / self.share[0], height / self.share[1]
        if self.is_square:
            wide = high = max(wide, high)
        return int(np.ceil(wide)), int(np.ceil(high))


def crop_of(image_processor: Any) -> Crop | None:
    """What a transformers image processor cuts off, by its config; None where it cuts nothing off."""
    kept, size = getattr(image_processor, "crop_size", None), getattr(image_processor, "size", None)
    if not getattr(image_processor, "do_center_crop", False) or not kept or not size:
        return None
    short = size.get("shortest_edge")
    resized = (short, short) if short else (size.get("width"), size.get("height"))
    if None in resized or not getattr(image_processor, "do_resize", True):
        return None
    share = (min(1.0, kept["width"] / resized[0]), min(1.0, kept["height"] / resized[1]))
    if not short and share == (1.0, 1.0):
        return None
    mean = getattr(image_processor, "image_mean", None)
    return Crop(bool(short), share, _rgb(mean) if mean else CLIP_MEAN)


def whole_image(image_HWC: np.ndarray, max_pixels: int, crop: Crop | None = None) -> tuple[np.ndarray, Frame]:
    """The image in its own shape with at most `max_pixels`, then padded so that nothing of it is cut off.

    The image lies in the middle, as LLaVA's own code pads to a square (`expand2square`). One that is small enough,
    for a processor that cuts nothing off, comes back as the same object.
    """
    original = (image_HWC.shape[1], image_HWC.shape[0])
    image_HWC = padded_image(image_HWC, MAX_ASPECT)
    height, width = image_HWC.shape[:2]
    frame = Frame((width, height), original)
    shrink = (max_pixels / (height * width)) ** 0.5
    if shrink < 1:
        small_w, small_h = max(1, int(width * shrink)), max(1, int(height * shrink))
        image_HWC, frame = resized(image_HWC, small_w, small_h), frame.resized(small_w, small_h)
    return padded(image_HWC, frame, crop) if crop else (image_HWC, frame)


def padded(image_HWC: np.ndarray, frame: Frame, crop: Crop) -> tuple[np.ndarray, Frame]:
    """A picture with its frame, in the middle of one whose middle part `crop` keeps."""
    height, width = image_HWC.shape[:2]
    canvas_w, canvas_h = crop.canvas(width, height)
    if (canvas_w, canvas_h) == (width, height):
        return image_HWC, frame
    left, top = (canvas_w - width) // 2, (canvas_h - height) // 2
    canvas_HWC = np.full((canvas_h, canvas_w, 3), crop.colour, np.uint8)
    canvas_HWC[top : top + height, left : left + width] = image_HWC
    offset = (frame.offset[0] + left, frame.offset[1] + top)
    return canvas_HWC, Frame((canvas_w, canvas_h), frame.original, frame.scale, offset)


def resized(image_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image in another size, by Pillow's antialiased bicubic filter."""
    return np.asarray(Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BICUBIC))


def _rgb(mean: Any) -> tuple[int, int, int]:
    """As LLaVA's code rounds: down."""
    red, green, blue = (int(value * 255) for value in mean)
    return red, green, blue
