"""The human mask of a manifest record: the union of the masks of its targets."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ivm_data.sources.files import read_inside
from storage import rle
from storage.errors import InputError
from storage.records import Rle

MAX_BYTES = 1 << 28


def human_mask(targets: Any, mask: Any, size: tuple[int, int], root: Path) -> Rle | None:
    """Unite the masks that a record gives.

    Args:
        targets: the record's `targets`, a list of objects with `mask_rle`; None where the record has none.
        mask: the record's `mask`, a path of a PNG (every non-zero pixel is kept) or an RLE object; None likewise.
        size: (height, width) of the image after EXIF rotation, the frame of every mask.
        root: folder that a mask's path may not leave.

    Returns:
        None where neither is given; an all-zero mask for an empty list of targets.

    Raises:
        InputError: `bad_human_mask`.
    """
    if targets is None and mask is None:
        return None
    if not isinstance(targets, list | None):
        raise InputError("bad_human_mask", f"'targets' must be a list, got {type(targets).__name__}")
    given = [_target_rle(target) for target in targets or []]
    if mask is not None:
        given.append(_png(mask, size, root) if isinstance(mask, str) else _object(mask))
    for one in given:
        _check_size((one.height, one.width), size)
    return rle.union(given) if given else rle.encode(np.zeros(size, bool))


def _target_rle(target: Any) -> Rle:
    if not isinstance(target, Mapping) or "mask_rle" not in target:
        raise InputError("bad_human_mask", f"a target must be an object with 'mask_rle', got {str(target)[:60]}")
    return _object(target["mask_rle"])


def _object(given: Any) -> Rle:
    if not isinstance(given, Mapping) or not {"size", "counts"} <= set(given):
        raise InputError("bad_human_mask", f"a mask must be an object with 'size' and 'counts', got {str(given)[:60]}")
    return rle.from_counts(given["size"], given["counts"])


def _png(reference: str, size: tuple[int, int], root: Path) -> Rle:
    try:
        data = read_inside(root, reference, MAX_BYTES)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            _check_size((image.height, image.width), size)
            pixels = np.asarray(image)
    except InputError as error:
        raise InputError("bad_human_mask", error.detail) from error
    except UnidentifiedImageError as error:
        raise InputError("bad_human_mask", f"'{reference}' is not a PNG") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on foreign bytes
        raise InputError("bad_human_mask", f"'{reference}': {type(error).__name__}: {error}") from error
    channels = pixels.reshape(*size, -1)
    colours = channels[..., :-1] if channels.shape[-1] in (2, 4) else channels
    return rle.encode(colours.max(axis=-1))


def _check_size(seen: tuple[int, int], size: tuple[int, int]) -> None:
    if seen != size:
        raise InputError("bad_human_mask", f"a mask of (height, width) = {seen} for an image of {size}")
