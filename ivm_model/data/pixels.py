"""Image files to pixels, no larger than they are needed."""

from __future__ import annotations

import io

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

_ORIENTATION = 0x0112


def decode_to_fit(image: bytes, side: int) -> np.ndarray:
    """Decode an image file and shrink it so that its longer side is at most `side` pixels.

    A JPEG is decoded at the smallest eighth of its size that is large enough, at most the half, which skips most of the
    work for large photos.

    Returns:
        HWC uint8 RGB, turned as its EXIF says.

    Raises:
        OSError, ValueError: the file is no readable image.
    """
    image_HWC = _decode(image, side)
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


def _decode(image: bytes, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(image)) as opened:
        plain = opened.format == "JPEG" and opened.mode in ("RGB", "L")
        if not plain or opened.getexif().get(_ORIENTATION, 1) != 1:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        width, height = opened.size
    scale = min(1.0, side / max(width, height))
    # Between the whole and a half of the size libjpeg is slower than at the whole.
    size = {"min_height": int(height * scale), "min_width": int(width * scale), "min_factor": 2}
    return simplejpeg.decode_jpeg(image, "RGB", **size)
