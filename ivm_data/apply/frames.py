"""Images of a file, a folder or a video, one after the other, each with a name for what is written of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import ConfigError, InputError
from storage.pixels.images import read

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class SourceImage:
    """An image and where it came from.

    Attributes:
        name: path relative to the folder, or `<video>-000001`, without a suffix; unique within a source.
        image: HWC uint8 RGB, or why there is none.
    """

    name: str
    image: np.ndarray | InputError


def is_many(source: Path) -> bool:
    """Whether a source is a folder or a video, not one image."""
    return source.is_dir() or source.suffix.lower() in VIDEO_SUFFIXES


def count(source: Path) -> int | None:
    """How many frames `frames` will give; of a video what its header says, None where it does not say.

    Raises:
        ConfigError: see `frames`.
        InputError: there is no such file.
    """
    if source.is_dir():
        return len(_files(source))
    if not source.is_file():
        raise InputError("image_missing", f"'{source}' is neither a file nor a folder")
    if source.suffix.lower() not in VIDEO_SUFFIXES:
        return 1
    import cv2

    said = int(_opened(source).get(cv2.CAP_PROP_FRAME_COUNT))
    return said if said > 0 else None


def frames(source: Path) -> Iterator[SourceImage]:
    """The images of a source in order: a folder's by name, with those of its folders; a video's by time.

    Raises:
        ConfigError: an empty folder, or a video that cannot be opened.
    """
    if source.is_dir():
        for path, name in _files(source).items():
            yield SourceImage(name, _image(path))
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        yield from _video(source)
    else:
        yield SourceImage(source.stem, _image(source))


def _files(folder: Path) -> dict[Path, str]:
    """Image file -> name; a file keeps its suffix in the name where another has the same stem."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not paths:
        raise ConfigError(f"'{folder}' holds no image file; the suffixes are {', '.join(IMAGE_SUFFIXES)}")
    stems = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return {
        path: f"{stem}{path.suffix.replace('.', '_')}" if stems.count(stem) > 1 else stem
        for path, stem in zip(paths, stems, strict=True)
    }


def _image(path: Path) -> np.ndarray | InputError:
    try:
        return read(path)
    except InputError as error:
        return error


def _opened(path: Path) -> Any:
    import cv2

    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise ConfigError(f"'{path}' is no video that OpenCV can open; give one of {', '.join(VIDEO_SUFFIXES)}")
    return video


def _video(path: Path) -> Iterator[SourceImage]:
    """Frames in order, numbered from 1; a torn frame ends a video, as its successors build on it.

    Some formats' headers only estimate how many there are: a lack of one frame, or of 5 %, is no tear.
    """
    import cv2

    video = _opened(path)
    said = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    number = 0
    try:
        while True:
            is_read, image_HWC = video.read()
            if not is_read:
                break
            number += 1
            yield SourceImage(f"{path.stem}-{number:06d}", cv2.cvtColor(image_HWC, cv2.COLOR_BGR2RGB))
    finally:
        video.release()
    if number < 0.95 * said - 1 or not number:
        torn = InputError("image_unreadable", f"frame {number + 1} of {said} cannot be read, nor those after it")
        yield SourceImage(f"{path.stem}-{number + 1:06d}", torn)
