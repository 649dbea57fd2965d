"""A folder of masks beside a folder of images: one picture an image, one an instance, or a folder a class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from ivm_data.sources.foreign.common.class_map import ClassMap, masks_by_class, read_class_map
from ivm_data.sources.foreign.common.foreign_reader import (
    BadRecord,
    ForeignPair,
    LeftOut,
    Record,
    Target,
    checked,
    existing,
)
from ivm_data.sources.foreign.common.shapes import mask_target
from ivm_data.sources.foreign.common.wording import check_template
from ivm_data.sources.foreign.containers.image_folder import SUFFIXES, image_files, referenced
from ivm_data.sources.mask_pictures import PictureRule, kept_pixels, rule_of
from storage.common.validation import Checked, within
from storage.errors import ConfigError

_BOUNDARY = "_-. @("
"""What may follow the name of an image in the name of its mask."""
_MASKS = {*SUFFIXES, ".npy"}


@dataclass(frozen=True)
class MaskFolderConfig(Checked):
    """Which folders, what the pixels of a mask mean, and what is asked.

    Attributes:
        folder: of the image files.
        masks: of the mask files: `1.png` for the image `1.jpg`; several of one image, `1_0.png`, `1_1.png` or
            `1/0.png`; or a folder for each class, `cup/1.png`.
        instruction: asked of every image; with `{name}` where pixels or folders have names.
        names: a file that names the values of the masks' pixels: CVAT's labelmap.txt, JSON, YAML, or lines such as
            `1: cup` and `#ff0000: cup`.
        images: the folder of the image files, relative to the image root; without it the manifest must lie above them.
        ignore: values that count for nobody, with commas between them, such as 255 around VOC's objects.
        threshold: gray value from which a pixel of a lossy or soft mask is kept; 0 for masks whose values are exact.
        black: a mask that is black all over says that the thing is not there, and is not an error.
        held_out: these pairs only score.
    """

    folder: str
    masks: str
    instruction: str = ""
    names: str = ""
    images: str = ""
    ignore: str = ""
    threshold: Annotated[int, within("[0, 255]")] = 0
    black: bool = False
    held_out: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if "{" in self.instruction or self.names:
            check_template(self.instruction or "{name}")
        if not all(value.strip().isdigit() for value in self.ignore.split(",") if value.strip()):
            raise ConfigError(f"'ignore' must be numbers with commas between them, got {self.ignore!r}")

    @property
    def ignored(self) -> tuple[int, ...]:
        """The values that count for nobody."""
        return tuple(int(value) for value in self.ignore.split(",") if value.strip())


class _Mask(NamedTuple):
    path: Path
    label: str


def read_mask_folder(config: MaskFolderConfig) -> Iterator[Record]:
    """Masks as pictures: an image is a pair with its masks, or each class of it that pixels or folders name.

    Reads: image files, mask files; a map of values to names
    """
    folder, masks = existing(config.folder, "folder", folder=True), existing(config.masks, "masks", folder=True)
    classes = read_class_map(existing(config.names, "names"), config.ignored) if config.names else None
    images = [path for path in image_files(folder) if masks == folder or not path.is_relative_to(masks)]
    found, lost = _assigned(images, folder, masks)
    if not found:
        raise ConfigError(f"no file in '{masks}' has the name of an image in '{folder}', or begins with it")
    named = any(mask.label for several in found.values() for mask in several)
    _check_instruction(config, named or classes is not None)
    for path in lost:
        yield BadRecord(path.relative_to(masks).as_posix(), "no image has the name that this mask begins with")
    for image in images:
        where = image.relative_to(folder).as_posix()
        if image in found:
            yield from checked(where, _pairs, referenced(image, folder, config.images), found[image], classes, config)
        else:
            yield LeftOut("image without a mask")


def _check_instruction(config: MaskFolderConfig, named: bool) -> None:
    if not named and (not config.instruction.strip() or "{name}" in config.instruction):
        raise ConfigError("nothing names what the masks show; set instruction='Find the cup.', or names=FILE")
    if named:
        check_template(config.instruction or "{name}")


def _assigned(images: list[Path], folder: Path, masks: Path) -> tuple[dict[Path, list[_Mask]], list[Path]]:
    """(masks by image, masks of no image). Below a folder named as no image is, masks are of that class."""
    by_stem: dict[str, Path] = {}
    for image in images:
        by_stem.setdefault(image.relative_to(folder).with_suffix("").as_posix(), image)
        by_stem.setdefault(image.stem, image)
    found, lost, known = defaultdict[Path, list[_Mask]](list), list[Path](), set(images)
    for path in sorted(path for path in masks.rglob("*") if path.suffix.lower() in _MASKS and path not in known):
        name = path.relative_to(masks).with_suffix("").as_posix()
        owner, label = _image_of(name, by_stem)
        if owner is None:
            lost.append(path)
        else:
            found[owner].append(_Mask(path, label))
    return dict(found), lost


def _image_of(name: str, by_stem: dict[str, Path]) -> tuple[Path | None, str]:
    """The image that a mask is of, and the class that its folder names."""
    folder, _, last = name.rpartition("/")
    for stem, label in ((name, ""), (folder, ""), (folder.rpartition("/")[2], "")):
        if stem and stem in by_stem:
            return by_stem[stem], label
    for whole, label in ((name, ""), (last, folder)):
        for stop in range(len(whole) - 1, 0, -1):
            if whole[stop] in _BOUNDARY and whole[:stop] in by_stem:
                return by_stem[whole[:stop]], label
    return by_stem.get(last), folder


def _pairs(
    image: str | Path, masks: list[_Mask], classes: ClassMap | None, config: MaskFolderConfig
) -> Iterator[Record]:
    targets, ignore = defaultdict[str, list[Target]](list), list[Target]()
    for mask in masks:
        for name, mask_HW in _read(mask, classes, config):
            if name == "void":
                ignore.append(mask_target(mask_HW))
            elif mask_HW.any():
                targets[name].append(mask_target(mask_HW))
            elif config.black:
                targets[name] += []
            else:
                raise ValueError(
                    f"the mask {mask.path.name!r} is black all over; black=true says that nothing is there"
                )
    for name, found in targets.items():
        template = config.instruction or ("Find every {name}." if name else "")
        text = template.format(name=name) if name else template
        kind = "all" if name else ""
        yield ForeignPair(
            image, text, kind, held_out=config.held_out, targets=tuple(found), ignore=tuple(ignore), unite=True
        )
    if not targets:
        yield LeftOut("mask without any class")


def _read(mask: _Mask, classes: ClassMap | None, config: MaskFolderConfig) -> Iterator[tuple[str, np.ndarray]]:
    data = mask.path.read_bytes()
    if classes is not None:
        yield from masks_by_class(data, classes)
        return
    rule = rule_of({"threshold": config.threshold or None, "ignore": list(config.ignored)})
    yield mask.label, kept_pixels(data, rule)
    if config.ignored:
        void_HW = kept_pixels(data, PictureRule(index=config.ignored))
        yield from [("void", void_HW)] * bool(void_HW.any())
