"""A trained model over many images: a folder, or the frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ivm_data.apply.frames import SourceImage, frames, is_many, is_video, opened
from ivm_data.outputs import MASK
from ivm_model.how import How
from ivm_model.predictor import BATCH, Predictor
from storage.disk.publish import whole_file
from storage.errors import ConfigError, InputError
from storage.outputs import mark
from storage.pixels.images import bounded

SMALL_WORLD = (
    "the model's LMM does not know {words}: an embedded one knows only the small world of 'ivm world', and no "
    "photographs. Use IVM's released weights (--model IVM-V1.0.bin), or train on photographs with 'ivm train --recipe "
    "paper'"
)
"""What to say where words of an instruction are unknown."""

VIDEO_OUTPUTS = (".mp4", ".mov", ".mkv", ".m4v")
"""Endings of a video that can be written."""

_SOFTWARE = 0x0131
"""EXIF's tag of the program that made an image."""


def not_known(predictor: Predictor, instruction: str) -> str:
    """What to say of an instruction whose words the model does not know; "" where it knows all."""
    words = predictor.unknown_words(instruction)
    return SMALL_WORLD.format(words=", ".join(map(repr, words))) if words else ""


@dataclass
class MaskedFrames:
    """Outcome counts of the images: files written, names where nothing was found, and why others were skipped."""

    written: list[Path] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)


def mask_frames(
    predictor: Predictor,
    source: Path,
    instruction: str,
    out: Path,
    *,
    how: How = "overlay",
    threshold: float = 0.5,
    progress: Callable[[], None] = lambda: None,
) -> MaskedFrames:
    """Mask every image of a file, a folder or a video for one instruction.

    Args:
        out: the file for an image file; for a folder or a video the folder of `<name>.png`; for a video also a video.
        progress: called after each image.

    Raises:
        InputError: the only image of a source that is one file cannot be read.
        ConfigError: see `ivm_data.apply.frames.frames`; or `out` cannot be written to.
    """
    check_out(source, out)
    done = MaskedFrames()
    with _sink(source, out, done) as save:
        for batch in bounded(_readable(source, done, progress), BATCH, _pixels):
            images = [frame.image for frame in batch if not isinstance(frame.image, InputError)]
            results = predictor.masks(images, [instruction] * len(images), how, threshold)
            for frame, masked in zip(batch, results, strict=True):
                save(frame, masked.image_HWC)
                if not masked.found:
                    done.not_found.append(frame.name)
                progress()
    return done


@contextmanager
def _sink(source: Path, out: Path, done: MaskedFrames) -> Iterator[Callable[[SourceImage, np.ndarray], None]]:
    """What a masked image of the source is saved by: as a file, as one of many in a folder, or as a video's frame."""
    if is_video(source) and out.suffix.lower() in VIDEO_OUTPUTS:
        from ivm_data.apply.video_writer import VideoWriter

        with opened(source) as video:
            rate = video.rate
        with VideoWriter(out, rate) as writer:
            yield lambda frame, image_HWC: writer.add(image_HWC, frame.seconds)
            if not writer.count:
                raise ConfigError(
                    f"'{source}' has no frame that can be read: {next(iter(done.bad.values()), 'it is empty')}"
                )
        done.written.append(out)
        return
    many = is_many(source)
    if many:
        mark(out, MASK)

    def save(frame: SourceImage, image_HWC: np.ndarray) -> None:
        path = out / f"{frame.name}.png" if many else out
        done.written.append(_save(image_HWC, path, swept=bool(done.written)))

    yield save


def _readable(source: Path, done: MaskedFrames, progress: Callable[[], None]) -> Iterator[SourceImage]:
    """The images that can be read; of many the others are noted in `done`."""
    for frame in frames(source):
        if not isinstance(frame.image, InputError):
            yield frame
        elif is_many(source):
            done.bad[frame.name] = str(frame.image)
            progress()
        else:
            raise frame.image


def _pixels(frame: SourceImage) -> int:
    return 0 if isinstance(frame.image, InputError) else int(frame.image.shape[0] * frame.image.shape[1])


def check_out(source: Path, out: Path) -> None:
    """Refuse a path that cannot take the masked images of a source, before any work.

    Raises:
        ConfigError: a file for many images, a folder for one, or a name that ends as no image format does.
    """
    if is_video(source) and is_video(out):
        if out.suffix.lower() not in VIDEO_OUTPUTS:
            raise ConfigError(f"'{out}' cannot be written: masked videos end in {', '.join(VIDEO_OUTPUTS)}")
        return
    many = is_many(source)
    if many and (out.is_file() or out.resolve() == source.resolve()):
        raise ConfigError(f"'{out}' cannot take the images; for a folder or a video give another folder to write into")
    if not many and (out.is_dir() or not out.suffix):
        raise ConfigError(f"'{out}' is no name of an image file; for one image give one such as 'masked.png'")
    if not many:
        _form(out)


def _form(path: Path) -> str:
    """The image format that a file's ending names."""
    form = Image.registered_extensions().get(path.suffix.lower(), "")
    if form not in Image.SAVE:
        raise ConfigError(f"'{path}' cannot be written: no image format ends in '{path.suffix}'; use .png or .jpg")
    return form


def _save(image_HWC: np.ndarray, path: Path, *, swept: bool) -> Path:
    facts = Image.Exif()
    facts[_SOFTWARE] = MASK
    with whole_file(path, swept=swept) as hidden:
        Image.fromarray(image_HWC).save(hidden, _form(path), exif=facts)
    return path
