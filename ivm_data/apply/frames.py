"""Images of a file, a folder or a video, one after the other, each with a name for what is written of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.errors import ConfigError, InputError
from storage.pixels.images import read
from storage.pixels.video import Video

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class SourceImage:
    """An image and where it came from.

    Attributes:
        name: path relative to the folder, or `<video>-000001`, without a suffix; unique within a source.
        image: HWC uint8 RGB, or why there is none.
        seconds: of a video's frame, from the first one.
    """

    name: str
    image: np.ndarray | InputError
    seconds: float = 0.0


def is_video(path: Path) -> bool:
    """Whether a path's name is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_many(source: Path) -> bool:
    """Whether a source is a folder or a video, not one image."""
    return source.is_dir() or is_video(source)


def count(source: Path) -> int:
    """How many frames `frames` will give; of a video what its packets say.

    Raises:
        ConfigError: see `frames`.
        InputError: there is no such file.
    """
    if source.is_dir():
        return len(_files(source))
    if not source.is_file():
        raise InputError("image_missing", f"'{source}' is neither a file nor a folder")
    if not is_video(source):
        return 1
    with opened(source) as video:
        return len(video)


def frames(source: Path) -> Iterator[SourceImage]:
    """The images of a source in order: a folder's by name, with those of its folders; a video's by time.

    Raises:
        ConfigError: an empty folder, or a video that cannot be opened.
    """
    if source.is_dir():
        for path, name in _files(source).items():
            yield SourceImage(name, _image(path))
    elif is_video(source):
        yield from _video(source)
    else:
        yield SourceImage(source.stem, _image(source))


def _files(folder: Path) -> dict[Path, str]:
    """Image file -> name; a file keeps its suffix in the name where another has the same stem."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not paths:
        raise ConfigError(
            f"'{folder}' holds no image file ({', '.join(IMAGE_SUFFIXES)}); give the folder that has them"
        )
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


def opened(path: Path) -> Video:
    """A video.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        return Video(path)
    except InputError as error:
        raise ConfigError(f"{error.detail}; give one of {', '.join(VIDEO_SUFFIXES)}") from error


def _video(path: Path) -> Iterator[SourceImage]:
    """Frames in order, numbered from 1; a torn frame ends a video, as its successors build on it."""
    number = 0
    with opened(path) as video:
        try:
            for number, (seconds, image_HWC) in enumerate(video.frames(), start=1):
                yield SourceImage(f"{path.stem}-{number:06d}", image_HWC, seconds)
        except InputError as error:
            yield SourceImage(f"{path.stem}-{number + 1:06d}", error)
