"""Encoded image bytes -> HWC uint8 RGB, the same frame for every stage, or a reason why not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from storage.common.validation import Checked, Count
from storage.errors import InputError

Item = TypeVar("Item")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""What Pillow may open here. EPS, which starts Ghostscript, and other document formats are left out."""


@dataclass(frozen=True)
class ImageLimits(Checked):
    """What an input image may be.

    Attributes:
        max_pixels: width * height, checked in the header before anything is decoded; 12,000 x 9,000 must pass.
        min_side: least width and height in pixels.
        max_bytes: size of the encoded file.
    """

    max_pixels: Count = 120_000_000
    min_side: Count = 8
    max_bytes: Count = 1 << 30


DEFAULT_LIMITS = ImageLimits()

BATCH_PIXELS = 320_000_000
"""Pixels of the images that pass through together, 1 GB as RGB: 16 images of 20 megapixels, or 2 of the largest.

Experts make copies: the demo recipe took 6.7 GB for 3 images of 119 megapixels, 4.9 GB for 2.
"""


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Decode an image file exactly: first frame, EXIF rotation applied, transparency over white, 16 bit scaled to 8.

    CMYK is converted by Pillow's formula without colour management. Pillow's JPEG draft mode is never used: a mask's
    pixels are the file's pixels.

    Returns:
        HWC uint8 RGB, writable and contiguous.

    Raises:
        InputError: `image_unreadable`, `image_too_large` or `image_too_small`.
    """
    if len(data) > limits.max_bytes:
        raise InputError("image_too_large", f"{len(data)} bytes, at most {limits.max_bytes} are read")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height, limits)
            image.load()
            return np.array(upright(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its message holds a memory address, which no label set may
        raise InputError("image_unreadable", f"{len(data)} bytes that begin none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InputError("image_too_large", str(error)) from error
    except Exception as error:  # Pillow's decoders raise nearly every type on foreign bytes
        kind = type(error).__name__
        raise InputError("image_unreadable", f"{len(data)} bytes, {kind}: {str(error)[:200]}") from error


def read(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Decode an image file to HWC uint8 RGB.

    Raises:
        InputError: `image_missing`, or as `decode`.
    """
    try:
        return decode(path.read_bytes(), limits)
    except OSError as error:
        raise InputError("image_missing", f"'{path}' cannot be read: {error.strerror}") from error


def bounded(items: Iterable[Item], size: int, pixels_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in batches of `size`, each as soon as it is whole; one ends early where `BATCH_PIXELS` would be passed.

    Which images share a batch decides the last digits of scores, so the bound is no option.

    Args:
        pixels_of: width * height of an item's image; an image that several items share counts for each of them, as
            stages make copies of their own for each.
    """
    batch: list[Item] = []
    pixels = 0
    for item in items:
        own = pixels_of(item)
        if batch and pixels + own > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(item)
        pixels += own
        if len(batch) == size:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def upright(image: Image.Image) -> Image.Image:
    """An opened image as every stage sees it: turned as its EXIF says, RGB, transparency over white, 16 bit as 8.

    The image that is given is turned too.

    Raises:
        InputError: `image_unreadable` for gray of more than 16 bit.
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def is_upright(image: Image.Image) -> bool:
    """Whether the EXIF of an opened image leaves it as it lies, which its header says."""
    return bool(image.getexif().get(ExifTags.Base.Orientation, 1) == 1)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an opened image once it is turned as its EXIF says, which its header says."""
    on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
    return (image.width, image.height) if on_its_side else (image.height, image.width)


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise InputError("image_too_large", f"{width}x{height} pixels, at most {limits.max_pixels} in all are decoded")
    if min(width, height) < limits.min_side:
        raise InputError("image_too_small", f"{width}x{height} pixels, each side must have at least {limits.min_side}")


def _to_8_bit(gray_HW: np.ndarray) -> np.ndarray:
    """16-bit gray, which Pillow also gives as 32-bit integers in [0, 65535], scaled to 8 bit with rounding."""
    low, high = gray_HW.min(), gray_HW.max()
    if gray_HW.dtype.kind == "f" or low < 0 or high > 65535:
        seen = f"{gray_HW.dtype} gray in [{low}, {high}]"
        raise InputError("image_unreadable", f"{seen} has no defined white; save 8 or 16 bit")
    return ((gray_HW.astype(np.uint32) + 128) // 257).astype(np.uint8)
