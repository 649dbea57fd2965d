"""COCO instances (Lin et al. 2014): `instances_train2017.json` and its like, also LVIS and what tools export so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ivm_data.sources.foreign.common.foreign_reader import (
    BadRecord,
    ForeignPair,
    LeftOut,
    Record,
    Target,
    existing,
    reason,
)
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.detection.coco_index import CocoIndex
from ivm_data.sources.foreign.detection.coco_target import Marks
from storage.common.validation import Checked, Count


@dataclass(frozen=True)
class CocoConfig(Checked):
    """Which file, and how a category becomes an instruction.

    Attributes:
        instances: an `instances_*.json` or any file in its format.
        images: folder of the image files, relative to the image root.
        instruction: with `{name}` for the category.
        held_out: these pairs only score.
        url_parts: of an image that has no file name but a `coco_url` (LVIS) so many last parts of it are the name:
            2 for `val2017/1.jpg`.
    """

    instances: str
    images: str = ""
    instruction: Template = "Find every {name}."
    held_out: bool = False
    url_parts: Count = 1


def read_coco(config: CocoConfig) -> Iterator[Record]:
    """COCO: each category of an image is an instruction, all its instances and crowds are the masks.

    Reads: instances_*.json
    """
    with CocoIndex(existing(config.instances, "instances"), config.url_parts) as coco:
        yield from coco.bad
        for image, categories in coco.groups():
            yield from _image(coco, config, image, categories)


def _image(
    coco: CocoIndex, config: CocoConfig, image_id: int, categories: list[tuple[int, list[int]]]
) -> Iterator[Record]:
    """The pairs of one image; an annotation that cannot be read loses its category, and no other one."""
    where = f"{coco.path.name}: image {coco.shown(image_id)}"
    try:
        image = coco.image(image_id)
        path = image_path(config.images, image.name)
    except ValueError as error:
        yield from (BadRecord(f"{where}, category {coco.shown(one)}", reason(error)) for one, _ in categories)
        return
    marks, found = coco.marks(image), dict[int, list[Target]]()
    for category_id, rows in categories:
        try:
            coco.category(category_id)
            found[category_id] = list(_targets(coco, marks, rows))
            if (image_id, category_id) in coco.incomplete:
                found.pop(category_id)
                raise ValueError("another annotation of it cannot be used, so that not every one is marked")
        except Exception as error:  # a foreign value raises nearly every type; it is that category's alone
            yield BadRecord(f"{where}, category {coco.shown(category_id)}", reason(error))
    for kind, count in marks.dropped.items():
        yield from [LeftOut(kind)] * count
    for category_id, targets in found.items():
        yield ForeignPair(
            image=path,
            instruction=config.instruction.format(name=coco.category(category_id)),
            kind="all",
            held_out=config.held_out,
            targets=None if category_id in image.partial else tuple(marks.sized(target) for target in targets),
            unite=True,
        )


def _targets(coco: CocoIndex, marks: Marks, rows: list[int]) -> Iterator[Target]:
    for row in rows:
        annotation = coco.at(row)
        try:
            yield marks.add(annotation)
        except Exception as error:
            raise ValueError(f"annotation {annotation.get('id')}: {reason(error)}") from error
