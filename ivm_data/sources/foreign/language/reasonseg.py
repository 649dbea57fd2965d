"""ReasonSeg (Lai et al. 2024, LISA): a folder of `*.jpg` with a `*.json` each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.shapes import mask_target
from storage.pixels import images

_IGNORE = 255


@dataclass(frozen=True)
class ReasonSegConfig:
    """Which folder.

    Attributes:
        folder: `train`, `val` or `test`, images and JSON files together.
        images: the same folder, relative to the image root.
        held_out: these pairs only score.
    """

    folder: str
    images: str = "ReasonSeg/train"
    held_out: bool = False


def read_reasonseg(config: ReasonSegConfig) -> Iterator[Record]:
    """ReasonSeg: each text of an image is an instruction; its outlines, less what is to be ignored, are the mask.

    Reads: *.json, *.jpg
    """
    for path in sorted(existing(config.folder, "folder", folder=True).glob("*.json")):
        yield from checked(path.name, _pairs, path, config)


def _pairs(path: Path, config: ReasonSegConfig) -> Iterator[ForeignPair]:
    row = _load(path)
    targets, ignore = _marked(row["shapes"], _size(path.with_suffix(".jpg")))
    for text in dict.fromkeys(row["text"]):
        yield ForeignPair(
            image=image_path(config.images, path.with_suffix(".jpg").name),
            instruction=text,
            kind="sentence" if row["is_sentence"] else "phrase",
            held_out=config.held_out,
            targets=targets,
            ignore=ignore,
        )


def _load(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        return dict(json.loads(data.decode()))
    except UnicodeDecodeError:  # some of the owner's files are
        return dict(json.loads(data.decode("cp1252")))


def _size(path: Path) -> tuple[int, int]:
    """(height, width) after EXIF rotation, from the image's header."""
    try:
        with Image.open(path) as image:
            return images.upright_size(image)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"'{path.name}' cannot be read: {type(error).__name__}") from error


def _marked(
    shapes: list[dict[str, Any]], size: tuple[int, int]
) -> tuple[tuple[Target, ...] | None, tuple[Target, ...]]:
    """Targets, and what LISA leaves out of its score, which is "not needed" where there is no third value.

    Painted as LISA does (utils/data_processing.py): outline and inside, the largest first, "flag" not at all. Where
    nothing but "ignore" was drawn, nobody knows the targets.
    """
    painted = []
    for shape in shapes:
        label, point_N2 = shape["label"].lower(), np.array(shape["points"], np.int32).reshape(-1, 2)
        if label != "flag":
            painted.append((_painted(np.zeros(size, np.uint8), point_N2, 1).sum(), label, point_N2))
    mask_HW = np.zeros(size, np.uint8)
    for _, label, point_N2 in sorted(painted, key=lambda shape: -int(shape[0])):
        _painted(mask_HW, point_N2, _IGNORE if "ignore" in label else 1)
    return _target(mask_HW == 1) or None, _target(mask_HW == _IGNORE)


def _target(mask_HW: np.ndarray) -> tuple[Target, ...]:
    """One target; none for an empty mask."""
    return (mask_target(mask_HW),) if mask_HW.any() else ()


def _painted(mask_HW: np.ndarray, point_N2: np.ndarray, value: int) -> np.ndarray:
    cv2.polylines(mask_HW, [point_N2], True, value, 1)
    cv2.fillPoly(mask_HW, [point_N2], value)
    return mask_HW
