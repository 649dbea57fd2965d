"""What a person marked, from a manifest record: one mask, the union of its targets' masks, or boxes.

A target is an object with one of these keys; the first in this order counts, and others are ignored:

- `mask_rle`: `{"size": [height, width], "counts": ...}`, COCO's compressed string or its plain run lengths;
- `polygons`: COCO's lists `[[x0, y0, x1, y1, ...], ...]` in pixels, filled as pycocotools fills them;
- `mask`: a reference of a PNG of which every non-zero pixel is kept. With `"resize": true` it may be of another size
  than the image, and is brought to it by nearest neighbour. With `"threshold": t` it may also be a JPEG, and the pixels
  are kept whose gray value, 0 to 255, is at least t;
- `box`: `[x0, y0, x1, y1]` in pixels, right and bottom exclusive, cut to the image. With `"frame": "image"` in shares
  of its width and height; with `"frame": "square"` in shares of the square that holds the image in its middle.

All are in the frame of the image after EXIF rotation.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ivm_data.sources.files import ImageFiles
from storage import rle
from storage.errors import InputError
from storage.records import Box, Rle

MAX_BYTES = 1 << 28
KINDS = ("mask_rle", "polygons", "mask", "box")
"""What a target may be given as."""


@dataclass(frozen=True)
class HumanLabel:
    """A mask, or boxes where not every target has a mask, or neither where nobody looked."""

    mask: Rle | None = None
    boxes: tuple[Box, ...] = ()


def human_label(targets: Any, mask: Any, size: tuple[int, int], files: ImageFiles | Path) -> HumanLabel:
    """Unite what a record gives.

    Args:
        targets: the record's `targets`, a list of objects as above; None where the record has none.
        mask: the record's `mask`, a path of a PNG or an RLE object; None likewise.
        size: (height, width) of the image after EXIF rotation, the frame of every mask.
        files: where a mask's reference is read: the files of a root, or the root.

    Returns:
        An all-zero mask for an empty list of targets. One target with nothing but a box makes boxes of all.

    Raises:
        InputError: `bad_human_mask`.
    """
    if isinstance(files, Path):
        with ImageFiles(files) as opened:
            return human_label(targets, mask, size, opened)
    if not isinstance(targets, list | None):
        raise InputError("bad_human_mask", f"'targets' must be a list, got {type(targets).__name__}")
    given = [_target(target, size, files) for target in targets or []]
    if mask is not None:
        given.append(_picture({"mask": mask}, size, files) if isinstance(mask, str) else _object(mask, size))
    masks = [one for one in given if isinstance(one, Rle)]
    if len(masks) < len(given):
        boxes = [rle.bbox(one) if isinstance(one, Rle) else one for one in given]
        return HumanLabel(boxes=tuple(box for box in boxes if box is not None))
    if masks:
        return HumanLabel(rle.union(masks))
    return HumanLabel(None if targets is None else rle.encode(np.zeros(size, bool)))


def _target(target: Any, size: tuple[int, int], files: ImageFiles) -> Rle | Box:
    kind = next((kind for kind in KINDS if kind in target), None) if isinstance(target, Mapping) else None
    if kind is None:
        seen = str(target)[:60]
        raise InputError("bad_human_mask", f"a target must be an object with one of {', '.join(KINDS)}, got {seen}")
    if kind == "box":
        return _box(target["box"], target.get("frame", "pixels"), size)
    if kind == "polygons":
        return _polygons(target["polygons"], size)
    if kind == "mask":
        return _picture(target, size, files)
    return _object(target["mask_rle"], size)


def _object(given: Any, size: tuple[int, int]) -> Rle:
    if not isinstance(given, Mapping) or not {"size", "counts"} <= set(given):
        raise InputError("bad_human_mask", f"a mask must be an object with 'size' and 'counts', got {str(given)[:60]}")
    mask = rle.from_counts(given["size"], given["counts"])
    _check_size((mask.height, mask.width), size)
    return mask


def _polygons(given: Any, size: tuple[int, int]) -> Rle:
    try:
        outlines = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in given]
    except (TypeError, ValueError) as error:
        raise InputError("bad_human_mask", f"polygons must be lists of x, y, x, y, ...: {error}") from error
    if not outlines:
        raise InputError("bad_human_mask", "'polygons' is empty")
    return rle.union([rle.from_polygon(point_N2, size) for point_N2 in outlines])


def _box(given: Any, frame: Any, size: tuple[int, int]) -> Box:
    try:
        edges_22 = np.array([float(edge) for edge in given]).reshape(2, 2)
    except (TypeError, ValueError) as error:
        raise InputError("bad_human_mask", f"a box must be [x0, y0, x1, y1], got {str(given)[:60]}") from error
    extent_2 = np.array(size[::-1], float)
    if frame == "image":
        edges_22 *= extent_2
    elif frame == "square":
        edges_22 = edges_22 * extent_2.max() - (extent_2.max() - extent_2) / 2
    elif frame != "pixels":
        raise InputError("bad_human_mask", f"'frame' must be 'pixels', 'image' or 'square', got {str(frame)[:60]!r}")
    (x0, y0), (x1, y1) = np.stack([edges_22[0].clip(min=0), np.minimum(edges_22[1], extent_2)]).tolist()
    box = Box(x0, y0, x1, y1)
    if not box.area > 0:
        raise InputError("bad_human_mask", f"the box {given} covers nothing of an image of (height, width) = {size}")
    return box


def _picture(target: Mapping[str, Any], size: tuple[int, int], files: ImageFiles) -> Rle:
    reference, threshold = target["mask"], target.get("threshold")
    if not isinstance(reference, str) or type(threshold) not in (int, float, NoneType):
        seen = f"{str(reference)[:60]!r} and {str(threshold)[:60]!r}"
        raise InputError("bad_human_mask", f"'mask' must be a path of a PNG, and 'threshold' a number, got {seen}")
    try:
        data = files.read(reference, MAX_BYTES)
        with Image.open(io.BytesIO(data), formats=["PNG"] if threshold is None else ["PNG", "JPEG"]) as image:
            return rle.encode(_kept(image, size, target.get("resize") is True, threshold))
    except InputError as error:
        raise InputError("bad_human_mask", error.detail) from error
    except UnidentifiedImageError as error:
        raise InputError("bad_human_mask", f"'{reference}' is not a PNG") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on foreign bytes
        raise InputError("bad_human_mask", f"'{reference}': {type(error).__name__}: {error}") from error


def _kept(image: Image.Image, size: tuple[int, int], resize: bool, threshold: float | None) -> np.ndarray:
    """The pixels that a mask's picture keeps, HW, as bool or non-zero; transparency is none of them."""
    if not resize:
        _check_size((image.height, image.width), size)
    if threshold is not None:
        image = image.convert("L")
    pixels = np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST) if resize else image)
    if threshold is not None:
        return pixels >= threshold
    channels = pixels.reshape(*size, -1)
    colours = channels[..., :-1] if channels.shape[-1] in (2, 4) else channels
    return colours.max(axis=-1)


def _check_size(seen: tuple[int, int], size: tuple[int, int]) -> None:
    if seen != size:
        raise InputError("bad_human_mask", f"a mask of (height, width) = {seen} for an image of {size}")
