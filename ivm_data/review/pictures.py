"""What the page shows: the image, and transparent layers to lay over it."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from ivm_data.review.colours import distinct
from storage.pixels.rle import decode_gray
from storage.records import Rle

MAX_SIDE = 2048
"""Pixels of the longer side of what is sent; clicks are still in pixels of the whole image."""

THUMBNAIL = 320
"""Pixels of the longer side of a label in the grid."""
TINT = 0.35
"""Share of the mask's colour in what it covers."""


def image_jpeg(image_HWC: np.ndarray) -> bytes:
    """HWC uint8 RGB -> JPEG."""
    pixels_HWC = cv2.cvtColor(_shrink(image_HWC), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels_HWC, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def mask_png(mask: Rle) -> bytes:
    """A mask as a white PNG, transparent where nothing is kept; the page colours it."""
    alpha_HW = _shrink(decode_gray(mask))
    return _png(np.full((*alpha_HW.shape, 3), 255, np.uint8), alpha_HW)


def thumbnail_jpeg(image_HWC: np.ndarray, mask_HW: np.ndarray) -> bytes:
    """An image with its mask's tint and outline, at most `THUMBNAIL` pixels wide and high, as JPEG."""
    scale = THUMBNAIL / max(mask_HW.shape)
    size = [max(1, round(side * scale)) for side in mask_HW.shape[::-1]]
    colour, _ = distinct(image_HWC, mask_HW)
    small_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    small_HW = cv2.resize(mask_HW.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    tinted_HWC = cv2.addWeighted(small_HWC, 1 - TINT, np.full_like(small_HWC, colour), TINT, 0)
    drawn_HWC = np.where(small_HW[..., None] > 0, tinted_HWC, small_HWC)
    contours, _ = cv2.findContours(small_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for shade, thickness in (((0, 0, 0), 4), (colour, 2)):
        cv2.drawContours(drawn_HWC, contours, -1, shade, thickness, cv2.LINE_AA)
    return image_jpeg(drawn_HWC)


def inline(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def heatmap_png(heatmap_HW: np.ndarray) -> bytes:
    """A vote in [0, 1] as a PNG in the colours of inferno, the more transparent the less was voted."""
    byte_HW = _shrink((np.clip(heatmap_HW, 0, 1) * 255).astype(np.uint8))
    return _png(cv2.applyColorMap(byte_HW, cv2.COLORMAP_INFERNO), byte_HW)


def _png(bgr_HWC: np.ndarray, alpha_HW: np.ndarray) -> bytes:
    layers = cv2.merge([*cv2.split(bgr_HWC), alpha_HW])
    return cv2.imencode(".png", layers, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _shrink(image_HWC: np.ndarray) -> np.ndarray:
    scale = MAX_SIDE / max(image_HWC.shape[:2])
    size = [max(1, round(side * scale)) for side in image_HWC.shape[1::-1]]
    return image_HWC if scale >= 1 else cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
