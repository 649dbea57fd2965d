"""Image files below a folder of this machine, and a folder of images as a source of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, Record, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.near_names import near_path, spellings
from storage.common.validation import Checked
from storage.errors import ConfigError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
"""What an image file may end in, in any case."""


@dataclass(frozen=True)
class FolderConfig(Checked):
    """Which images, and what is asked of them; one of `instruction` and `instructions`.

    Attributes:
        folder: of the image files, which may lie in folders below it.
        instruction: asked of every image.
        instructions: a text file. A line is asked of every image; one with a tab, `name.jpg<TAB>instruction`, of that
            image alone.
        images: the same folder, relative to the image root; without it the manifest must lie above the images.
    """

    folder: str
    instruction: str = ""
    instructions: str = ""
    images: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.instruction.strip()) == bool(self.instructions):
            raise ConfigError(
                "give the source 'folder' either instruction='Find the cup.' or instructions=FILE with a line for each"
            )


def read_folder(config: FolderConfig) -> Iterator[Record]:
    """A plain folder: one instruction, or each line of a text file, is asked of every image; nothing is labeled.

    Reads: image files; a text file
    """
    folder = existing(config.folder, "folder", folder=True)
    files = image_files(folder)
    if not files:
        raise ConfigError(
            f"'{folder}' holds no image file ({', '.join(sorted(SUFFIXES))}); give the folder that has them"
        )
    if config.instruction:
        yield from _every(files, config.instruction.strip(), folder, config)
        return
    path = existing(config.instructions, "instructions")
    for position, line in enumerate(_lines(path)):
        name, tab, text = line.partition("\t")
        if not tab:
            yield from _every(files, line.strip(), folder, config)
        elif found := _named(folder, name.strip()):
            yield ForeignPair(referenced(found, folder, config.images), text.strip())
        else:
            near = near_path(folder, name.strip())
            hint = f"; '{near}' is there" if near else ""
            yield BadRecord(f"{path.name}: line {position + 1}", f"no image {name.strip()!r:.80} in the folder{hint}")


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder and those below it, `2.jpg` before `10.jpg`; hidden ones are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    own = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(own, key=lambda path: _by_number(path.relative_to(folder).as_posix()))


def referenced(path: Path, folder: Path, images: str) -> str | Path:
    """How the manifest calls an image file: in `images` if that is given, or by where it lies on this machine."""
    return image_path(images, path.relative_to(folder).as_posix()) if images else path


def _every(files: list[Path], instruction: str, folder: Path, config: FolderConfig) -> Iterator[Record]:
    yield from (ForeignPair(referenced(path, folder, config.images), instruction) for path in files)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no text in UTF-8: {error}") from error


def _named(folder: Path, name: str) -> Path | None:
    for spelling in (name, *spellings(name)):
        path = Path(spelling)
        if not path.is_absolute() and ".." not in path.parts and (folder / path).is_file():
            return folder / path
    return None


def _by_number(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d{1,18}", name)], name
