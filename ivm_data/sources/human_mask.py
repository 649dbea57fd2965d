"""What a person marked, from a manifest record: one mask, the union of its targets' masks, or boxes.

A target is an object with one of these keys; the first in this order counts, and others are ignored:

- `mask_rle`: `{"size": [height, width], "counts": ...}`, COCO's compressed string or its plain run lengths;
- `polygons`: COCO's lists `[[x0, y0, x1, y1, ...], ...]` in pixels, filled as pycocotools fills them; parts of fewer
  than three points are left out beside others. With `"frame": "image"` in shares of width and height;
- `mask`: a reference of a picture, read by the rule of `ivm_data.sources.mask_pictures`, which `threshold`, `index` and
  `ignore` refine. With `"resize": true` it may be of another size than the image, and is brought to it by nearest
  neighbour;
- `box`: `[x0, y0, x1, y1]` in pixels, right and bottom exclusive, cut to the image. With `"frame": "image"` in shares
  of its width and height; with `"frame": "square"` in shares of the square that holds the image in its middle.

With `"size": [height, width]` the pixels of polygons and boxes are of an image of that size, and are scaled; with
`"swap": true` the two may be exchanged (see `ivm_data.sources.marked_size`). All are in the frame of the image after
EXIF rotation. A target that covers no pixel is no statement that nothing is there, but a mistake: `bad_human_mask`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.sources.files import ImageFiles
from ivm_data.sources.marked_size import Size, factors, resized, resized_rle, scales_alike
from ivm_data.sources.mask_pictures import kept_pixels, rule_of
from storage.errors import InputError
from storage.pixels import rle
from storage.pixels.images import DEFAULT_LIMITS
from storage.records import Box, Rle

MAX_BYTES = 1 << 28
KINDS = ("mask_rle", "polygons", "mask", "box")
"""What a target may be given as."""


@dataclass(frozen=True)
class HumanLabel:
    """A mask, or boxes where not every target has a mask, or neither where nobody looked."""

    mask: Rle | None = None
    boxes: tuple[Box, ...] = ()


def human_label(targets: Any, mask: Any, size: Size, files: ImageFiles | Path) -> HumanLabel:
    """Unite what a record gives.

    Args:
        targets: the record's `targets`, a list of objects as above; None where the record has none.
        mask: the record's `mask`, a path of a PNG or an RLE object; None likewise.
        size: (height, width) of the image after EXIF rotation, the frame of every mask.
        files: where a mask's reference is read: the files of a root, or the root.

    Returns:
        An all-zero mask for an empty list of targets. One target with nothing but a box makes boxes of all.

    Raises:
        InputError: `bad_human_mask`, also for a target that covers no pixel.
    """
    if isinstance(files, Path):
        with ImageFiles(files) as opened:
            return human_label(targets, mask, size, opened)
    if not isinstance(targets, list | None):
        raise InputError("bad_human_mask", f"'targets' must be a list, got {type(targets).__name__}")
    given = [_covering(_target(target, size, files), target, size) for target in targets or []]
    if mask is not None:
        one = _picture({"mask": mask}, size, files) if isinstance(mask, str) else _object(mask, size)
        given.append(_covering(one, mask, size))
    masks = [one for one in given if isinstance(one, Rle)]
    if len(masks) < len(given):
        boxes = [rle.bbox(one) if isinstance(one, Rle) else one for one in given]
        return HumanLabel(boxes=tuple(box for box in boxes if box is not None))
    if masks:
        return HumanLabel(rle.union(masks))
    return HumanLabel(None if targets is None else rle.encode(np.zeros(size, bool)))


def _covering(found: Rle | Box, given: Any, size: Size) -> Rle | Box:
    if isinstance(found, Rle) and not rle.area(found):
        raise InputError(
            "bad_human_mask",
            f"the target {str(given)[:80]} covers no pixel of an image of (height, width) = {size}; where nothing is "
            "to be marked, the list of targets must be empty",
        )
    return found


def _target(target: Any, size: Size, files: ImageFiles) -> Rle | Box:
    kind = next((kind for kind in KINDS if kind in target), None) if isinstance(target, Mapping) else None
    if kind is None:
        seen = str(target)[:60]
        raise InputError("bad_human_mask", f"a target must be an object with one of {', '.join(KINDS)}, got {seen}")
    if kind == "box":
        return _box(target, size)
    if kind == "polygons":
        return _polygons(target, size)
    if kind == "mask":
        return _picture(target, size, files)
    return _object(target["mask_rle"], size)


def _object(given: Any, size: Size) -> Rle:
    if not isinstance(given, Mapping) or not {"size", "counts"} <= set(given):
        raise InputError("bad_human_mask", f"a mask must be an object with 'size' and 'counts', got {str(given)[:60]}")
    factors(given["size"], False, size)
    height, width = (int(side) for side in given["size"])
    if height * width > DEFAULT_LIMITS.max_pixels:
        raise InputError("bad_human_mask", f"a mask of (height, width) = {height, width} has too many pixels")
    return resized_rle(rle.from_counts(given["size"], given["counts"]), size)


def _polygons(target: Mapping[str, Any], size: Size) -> Rle:
    try:
        outlines = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in target["polygons"]]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("bad_human_mask", f"polygons must be lists of x, y, x, y, ...: {error}") from error
    drawn = [outline_N2 for outline_N2 in outlines if len(outline_N2) > 2] or outlines
    if not drawn:
        raise InputError("bad_human_mask", "'polygons' is empty")
    scale_2 = _scale(target, size, ("pixels", "image"))
    return rle.union([rle.from_polygon(outline_N2 * scale_2, size) for outline_N2 in drawn])


def _box(target: Mapping[str, Any], size: Size) -> Box:
    given = target["box"]
    try:
        edges_22 = np.array([float(edge) for edge in given]).reshape(2, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("bad_human_mask", f"a box must be [x0, y0, x1, y1], got {str(given)[:60]}") from error
    extent_2 = np.array(size[::-1], float)
    scale_2 = _scale(target, size, ("pixels", "image", "square"))
    edges_22 = edges_22 * scale_2
    if target.get("frame") == "square":
        edges_22 -= (extent_2.max() - extent_2) / 2
    (x0, y0), (x1, y1) = np.stack([edges_22[0].clip(min=0), np.minimum(edges_22[1], extent_2)]).tolist()
    box = Box(x0, y0, x1, y1)
    if not (x0 < x1 and y0 < y1):
        raise InputError("bad_human_mask", f"the box {given} covers nothing of an image of (height, width) = {size}")
    return box


def _scale(target: Mapping[str, Any], size: Size, frames: tuple[str, ...]) -> np.ndarray:
    """(x, y) pixels for one unit of the target's coordinates."""
    frame = target.get("frame", "pixels")
    if frame not in frames:
        raise InputError("bad_human_mask", f"'frame' must be {_either(frames)}, got {str(frame)[:60]!r}")
    in_pixels = np.array(factors(target.get("size"), target.get("swap"), size))
    extent_2 = np.array(size[::-1], float)
    return {"pixels": in_pixels, "image": extent_2, "square": np.full(2, extent_2.max())}[frame]


def _picture(target: Mapping[str, Any], size: Size, files: ImageFiles) -> Rle:
    reference, rule, resize = target["mask"], rule_of(target), target.get("resize") is True
    if not isinstance(reference, str):
        raise InputError("bad_human_mask", f"'mask' must be a path of a picture, got {str(reference)[:60]!r}")

    def check(height: int, width: int) -> None:
        if (height, width) != size and not (resize and scales_alike((height, width), size)):
            way = "the sides do not scale alike" if resize else 'give "resize": true where it is but smaller or larger'
            seen = f"it is of (height, width) = {height, width}, the image of {size}; {way}"
            raise InputError("bad_human_mask", seen)

    try:
        kept_HW = kept_pixels(files.read(reference, MAX_BYTES), rule, check)
    except InputError as error:
        detail = error.detail if reference in error.detail else f"'{reference}': {error.detail}"
        raise InputError("bad_human_mask", detail) from error
    return rle.encode(kept_HW if kept_HW.shape == size else resized(kept_HW, size))


def _either(words: tuple[str, ...]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}"
