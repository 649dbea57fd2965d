"""The size that an image had when somebody marked it, and what its pixels are in the image that is labeled.

Photos are made smaller after they are annotated, and EXIF turns them: coordinates that were right then point elsewhere
now. They are scaled where both sides of the image scale alike, within the pixel that rounding costs, and refused
otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from storage.errors import InputError
from storage.pixels import rle
from storage.records import Rle

Size = tuple[int, int]
"""(height, width) in pixels."""


def factors(marked: Any, swap: Any, size: Size) -> tuple[float, float]:
    """(x, y): pixels of the image for one pixel of the marked image.

    Args:
        marked: `[height, width]` of the image when it was marked; None where it is not known, then it is the image's.
        swap: the two may be exchanged: their writer read the size of a photo as it is stored, and the marks were
            made on the photo as EXIF turns it. Marks that fit only one of the two frames are not such a case.

    Raises:
        InputError: `bad_human_mask` where the sides do not scale alike, with both sizes.
    """
    if marked is None:
        return 1.0, 1.0
    height, width = _checked(marked)
    if scales_alike((height, width), size):
        return size[1] / width, size[0] / height
    exchanged = scales_alike((width, height), size)
    if exchanged and swap is True:
        return size[1] / height, size[0] / width
    raise InputError("bad_human_mask", _refusal((height, width), size, exchanged))


def scales_alike(marked: Size, size: Size) -> bool:
    """Whether an image of one size may be another one of the other size, resized to whole pixels."""
    (height, width), (large_height, large_width) = sorted((marked, size), key=lambda one: one[0] * one[1])
    by_width, by_height = large_height * width / large_width, large_width * height / large_height
    return abs(by_width - height) < 1 or abs(by_height - width) < 1


def resized(mask_HW: np.ndarray, size: Size) -> np.ndarray:
    """The mask at another size by nearest neighbour: each pixel takes the one that its middle lies in."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.int64) for old, new in zip(mask_HW.shape, size, strict=True)
    )
    resized_HW: np.ndarray = mask_HW[rows[:, None], columns]
    return resized_HW


def resized_rle(mask: Rle, size: Size) -> Rle:
    """A run-length mask of another size, brought to the image's.

    Raises:
        InputError: `bad_human_mask` where the sides do not scale alike.
    """
    marked = (mask.height, mask.width)
    if marked == size:
        return mask
    factors(marked, False, size)
    return rle.encode(resized(rle.decode(mask), size))


def _checked(marked: Any) -> Size:
    try:
        height, width = (int(side) for side in marked)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("bad_human_mask", f"'size' must be [height, width], got {str(marked)[:60]}") from error
    if not (0 < height <= 1 << 20 and 0 < width <= 1 << 20):
        raise InputError("bad_human_mask", f"'size' must be [height, width] in pixels, got {str(marked)[:60]}")
    return height, width


def _refusal(marked: Size, size: Size, exchanged: bool) -> str:
    seen = f"marked on an image of (height, width) = {marked}, but the image has {size}"
    if exchanged:
        return (
            f"{seen}: height and width are exchanged, as where a photo was marked as it is stored and EXIF turns it; "
            "take the turn out of the photo (its EXIF orientation), or mark it as it is shown"
        )
    return f"{seen}, and the sides do not scale alike; give the image that was marked"
