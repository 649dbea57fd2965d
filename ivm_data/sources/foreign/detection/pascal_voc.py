"""Pascal VOC (Everingham et al. 2010) and what tools export so: boxes in XML, masks of classes and of objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ivm_data.sources.foreign.common.class_map import ClassMap, masks_by_class, read_class_map, voc_map, with_voc_border
from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, LeftOut, Record, Target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path, inside
from ivm_data.sources.foreign.common.labeled_shapes import Shape, by_label
from ivm_data.sources.foreign.common.shapes import mask_target
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.containers.image_folder import SUFFIXES
from storage.common.validation import Checked
from storage.errors import ConfigError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_NUMBERED = ClassMap(by_index={number: str(number) for number in range(1, 255)}, ignored=frozenset({255}))
"""Names the objects of a SegmentationObject picture by their numbers."""


@dataclass(frozen=True)
class PascalVocConfig(Checked):
    """Which folder, and how a class becomes an instruction.

    Attributes:
        folder: that holds Annotations/, JPEGImages/, SegmentationClass/ or SegmentationObject/; or XML files alone.
        images: folder of the image files, relative to the image root; without it they are looked for in the folder, and
            the manifest must lie above them.
        split: name of a list in ImageSets/Segmentation/ or ImageSets/Main/, such as `train`; "" for every image.
        instruction: with `{name}` for the class.
        masks: read the masks; with false the boxes alone.
        held_out: these pairs only score.
    """

    folder: str
    images: str = ""
    split: str = ""
    instruction: Template = "Find every {name}."
    masks: bool = True
    held_out: bool = False


def read_pascal_voc(config: PascalVocConfig) -> Iterator[Record]:
    """Pascal VOC: each class of an image is an instruction, its mask the label, or its boxes where it has no mask.

    Reads: Annotations/*.xml, SegmentationClass/*.png, SegmentationObject/*.png, ImageSets/*/*.txt
    """
    voc = _Voc(existing(config.folder, "folder", folder=True), config)
    for name in voc.names():
        yield from checked(name, _pairs, name, voc, config)


class _Voc:
    """Where the files of each image lie; images are known by their path without a suffix."""

    def __init__(self, folder: Path, config: PascalVocConfig) -> None:
        self.folder, self.config = folder, config
        self.xml = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
        self.classes, self.objects = folder / "SegmentationClass", folder / "SegmentationObject"
        labels = folder / "labelmap.txt"
        self.map = with_voc_border(read_class_map(labels)) if labels.is_file() else voc_map()

    def names(self) -> list[str]:
        """Every image that has an annotation or a mask, or those of the split.

        Raises:
            ConfigError: there is none, or no such split.
        """
        if self.config.split:
            lists = [self.folder / "ImageSets" / kind / f"{self.config.split}.txt" for kind in ("Segmentation", "Main")]
            found = [path for path in lists if path.is_file()]
            if not found:
                raise ConfigError(
                    f"'{self.folder}' has no list {self.config.split!r} in ImageSets/Segmentation or Main"
                )
            lines = [line.split() for path in found for line in path.read_text(encoding="utf-8-sig").splitlines()]
            names = {line[0] for line in lines if line}
        else:
            names = {name for place, suffix in self._places() for name in _stems(place, suffix)}
        if not names:
            raise ConfigError(f"'{self.folder}' has neither Annotations/*.xml nor SegmentationClass/*.png")
        return sorted(names)

    def annotation(self, name: str) -> ElementTree.Element | None:
        """The image's XML; None where there is none.

        Raises:
            ValueError: it is no XML.
        """
        path = self.xml / f"{name}.xml"
        if not path.is_file():
            return None
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise ValueError(f"it is no XML: {error}") from error
        if root.tag != "annotation":
            raise ValueError(f"its root is <{root.tag[:40]}>, not <annotation>")
        return root

    def image(self, name: str, root: ElementTree.Element | None) -> str | Path:
        """How the manifest calls the image.

        Raises:
            ValueError: it is not in the folder, and nobody said where it is.
        """
        written = (root.findtext("filename") or "").strip() if root is not None else ""
        parent = Path(name).parent.as_posix()
        places = [self.folder / "JPEGImages", self.folder / "images", self.xml]
        named = [inside(parent if parent != "." else "", written)] if written else []
        tried = [
            *named,
            *(f"{name}{suffix}" for form in (str.lower, str.upper) for suffix in map(form, sorted(SUFFIXES))),
        ]
        found = next((path for place in places for one in tried if (path := place / one).is_file()), None)
        if self.config.images:
            known = next((place for place in places if found and found.is_relative_to(place)), None)
            relative = found.relative_to(known).as_posix() if found and known else None
            return image_path(self.config.images, relative or next(iter(named), f"{name}.jpg"))
        if found is None:
            raise ValueError(f"its image is not in {', '.join(place.name for place in places)}; set images")
        return found

    def _places(self) -> list[tuple[Path, str]]:
        masks = [(self.classes, ".png"), (self.objects, ".png")] if self.config.masks else []
        return [(self.xml, ".xml"), *masks]


def _stems(place: Path, suffix: str) -> set[str]:
    return {path.relative_to(place).with_suffix("").as_posix() for path in place.rglob(f"*{suffix}")}


def _pairs(name: str, voc: _Voc, config: PascalVocConfig) -> Iterator[Record]:
    root = voc.annotation(name)
    image = voc.image(name, root)
    drawn = [] if root is None else [_shape(thing, _size(root)) for thing in root.findall("object")]
    boxes, others = by_label(drawn, name)
    masks = _masks(name, voc, [shape.label for shape in drawn]) if config.masks else {}
    ignore = tuple(mask_target(mask_HW) for mask_HW in [masks.pop("void", None)] if mask_HW is not None)
    for label in dict.fromkeys([*masks, *boxes]):
        yield ForeignPair(
            image=image,
            instruction=config.instruction.format(name=label),
            kind="all",
            held_out=config.held_out,
            targets=(mask_target(masks[label]),) if label in masks else tuple(boxes[label]),
            ignore=ignore if label in masks else (),
            unite=True,
        )
    yield from others
    if not masks and not drawn:
        yield LeftOut("image without shapes")


def _masks(name: str, voc: _Voc, labels: list[str]) -> dict[str, np.ndarray]:
    """Mask of each class, and of "void"; from the objects' picture where there is no classes' picture."""
    classes, objects = voc.classes / f"{name}.png", voc.objects / f"{name}.png"
    if classes.is_file():
        return dict(masks_by_class(classes.read_bytes(), voc.map))
    if not objects.is_file():
        return {}
    found: dict[str, np.ndarray] = {}
    for number, mask_HW in masks_by_class(objects.read_bytes(), _NUMBERED):
        if number != "void" and int(number) > len(labels):
            raise ValueError(f"its objects' picture has the number {number}, but the XML has {len(labels)} objects")
        label = number if number == "void" else labels[int(number) - 1].strip()
        found[label] = found[label] | mask_HW if label in found else mask_HW
    return found


def _size(root: ElementTree.Element) -> list[int] | None:
    sides = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width")]
    return sides if min(sides) > 0 else None


def _shape(thing: ElementTree.Element, size: list[int] | None) -> Shape:
    return Shape((thing.findtext("name") or "").strip(), partial(_box, thing, size))


def _box(thing: ElementTree.Element, size: list[int] | None) -> Target:
    """VOC counts pixels from 1, and the last ones are inside; tools that write decimals (CVAT) count edges from 0."""
    found = thing.find("bndbox")
    if found is None:
        raise ValueError("an object without <bndbox>")
    texts = [(found.findtext(side) or "").strip() for side in _SIDES]
    edges = [float(text or "nan") for text in texts]
    whole = all(text.isdigit() for text in texts)
    x0, y0, x1, y1 = (edges[0] - 1, edges[1] - 1, *edges[2:]) if whole and min(edges[:2]) >= 1 else edges
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"the box {dict(zip(_SIDES, edges, strict=True))} covers nothing")
    return {"box": [x0, y0, x1, y1]} | ({"size": size} if size else {})
