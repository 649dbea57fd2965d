"""COCO instances (Lin et al. 2014): `instances_train2017.json` and its like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ivm_data.sources.foreign.coco_index import CocoIndex
from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, checked, existing, image_path
from ivm_data.sources.foreign.wording import Template
from storage.validation import Checked


@dataclass(frozen=True)
class CocoConfig(Checked):
    """Which file, and how a category becomes an instruction.

    Attributes:
        instances: an `instances_*.json` or any file in its format.
        images: folder of the image files, relative to the image root.
        instruction: with `{name}` for the category.
        held_out: these pairs only score.
    """

    instances: str
    images: str = ""
    instruction: Template = "Find every {name}."
    held_out: bool = False


def read_coco(config: CocoConfig) -> Iterator[ForeignPair | BadRecord]:
    """COCO: each category of an image is an instruction, all its instances and crowds are the masks.

    Reads: instances_*.json
    """
    with CocoIndex(existing(config.instances, "instances")) as coco:
        yield from coco.bad
        for image, category, annotations in coco.groups():
            where = f"{coco.path.name}: image {image}, category {category}"
            yield from checked(where, _pairs, coco, config, image, category, annotations)


def _pairs(
    coco: CocoIndex, config: CocoConfig, image: int, category: int, annotations: list[int]
) -> Iterator[ForeignPair]:
    yield ForeignPair(
        image=image_path(config.images, coco.images[image]),
        instruction=config.instruction.format(name=coco.categories[category]),
        kind="all",
        held_out=config.held_out,
        targets=tuple(coco.target(annotation) for annotation in annotations),
    )
