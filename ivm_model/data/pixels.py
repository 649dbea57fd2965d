"""Image files and masks to pixels, no larger than they are needed, and their place in a model's square input."""

from __future__ import annotations

import io

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image

from ivm_model.model.masking_model import Placement
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Rle

_ORIENTATION = 0x0112


def decode_to_fit(image: bytes, side: int) -> np.ndarray:
    """Decode an image file and shrink it so that its longer side is at most `side` pixels.

    A JPEG is decoded at the smallest eighth of its size that is large enough, at most the half, which skips most of the
    work for large photos. Returns and errors as of `storage.pixels.images.decode`.
    """
    image_HWC = _decode_shrunk(image, side)
    height, width = image_HWC.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image_HWC
    return shrink(image_HWC, max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an HWC or HW uint8 array to a smaller size, every pixel counted.

    Halving, for which OpenCV has a fast path, until less than a factor of two is left to interpolate: four times as
    fast as averaging areas at an odd factor.
    """
    while pixels.shape[0] >= 2 * height and pixels.shape[1] >= 2 * width:
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] == (height, width):
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)


def shrink_mask(mask: Rle, height: int, width: int) -> np.ndarray:
    """A mask at the size of its image, which may have been shrunk: HW uint8, 255 where wholly covered.

    Raises:
        ValueError: mask and image have different shapes, apart from rounding.
    """
    if abs(height * mask.width - width * mask.height) > max(mask.height, mask.width):
        raise ValueError(f"a mask of {mask.width}x{mask.height} on an image of another shape, {width}x{height}")
    return shrink(rle.decode_gray(mask), height, width)


def place(mask_HW: np.ndarray, placement: Placement, side: int) -> np.ndarray:
    """A soft uint8 mask in SAM's padded square frame."""
    height, width = placement.resized_hw
    smaller = height < mask_HW.shape[0]
    target_HW = np.zeros((side, side), np.uint8)
    target_HW[:height, :width] = cv2.resize(
        mask_HW, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return target_HW


def valid_mask(placement: Placement, side: int) -> torch.Tensor:
    """valid_HW bool: True on the image, False in the padding."""
    valid_HW = torch.zeros(side, side, dtype=torch.bool)
    valid_HW[: placement.resized_hw[0], : placement.resized_hw[1]] = True
    return valid_HW


def _decode_shrunk(image: bytes, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as opened:
        plain = opened.format == "JPEG" and opened.mode in ("RGB", "L")
        if not plain or opened.getexif().get(_ORIENTATION, 1) != 1:
            return decode(image)
        width, height = opened.size
    scale = min(1.0, side / max(width, height))
    # Between the whole and a half of the size libjpeg is slower than at the whole.
    size = {"min_height": int(height * scale), "min_width": int(width * scale), "min_factor": 2}
    image_HWC: np.ndarray = simplejpeg.decode_jpeg(image, "RGB", **size)
    return image_HWC
