"""Visual Genome (Krishna et al. 2017): `region_descriptions.json`, `objects.json`, `image_data.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, box_target, checked, existing
from ivm_data.sources.foreign.common.image_references import end_of_url, image_path
from ivm_data.sources.foreign.common.json_stream import stream
from ivm_data.sources.foreign.common.record_ids import record_id
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.detection.coco_target import image_size
from ivm_data.sources.marked_size import Size
from storage.common.validation import Checked
from storage.errors import ConfigError


@dataclass(frozen=True)
class VisualGenomeConfig(Checked):
    """Which files; at least one of `regions` and `objects`.

    Attributes:
        image_data: `image_data.json`, which says in which of the two folders an image lies.
        regions: `region_descriptions.json`.
        objects: `objects.json`.
        images: folder that holds VG_100K and VG_100K_2, relative to the image root.
        instruction: for objects, with `{name}`.
        held_out: these pairs only score.
    """

    image_data: str
    regions: str = ""
    objects: str = ""
    images: str = "vg"
    instruction: Template = "Find every {name}."
    held_out: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.regions and not self.objects:
            raise ConfigError(
                "visual-genome needs 'regions' (region_descriptions.json), 'objects' (objects.json) or both"
            )


class _Image(NamedTuple):
    name: str
    size: Size | None

    def box(self, x: float, y: float, width: float, height: float) -> Target:
        return box_target(x, y, width, height) | ({"size": list(self.size)} if self.size else {})


def read_visual_genome(config: VisualGenomeConfig) -> Iterator[Record]:
    """Visual Genome: a region's phrase is an instruction with its box; an object's name one with all boxes so named.

    Reads: image_data.json, region_descriptions.json, objects.json
    """
    image_data = existing(config.image_data, "image_data")
    images: dict[int, _Image] = {}
    for position, node in enumerate(stream(image_data)):
        yield from checked(f"{image_data.name}: [{position}]", _remember, images, node.value)
    if config.regions:
        path = existing(config.regions, "regions")
        for position, node in enumerate(stream(path)):
            for number, region in enumerate(_list(node.value, "regions")):
                yield from checked(f"{path.name}: [{position}].regions[{number}]", _region, region, images, config)
    if config.objects:
        path = existing(config.objects, "objects")
        for position, node in enumerate(stream(path)):
            for name, things in _by_name(_list(node.value, "objects")).items():
                where = f"{path.name}: [{position}].objects {name!r}"
                yield from checked(where, _objects, name, things, node.value, images, config)


def _remember(images: dict[int, _Image], record: dict[str, Any]) -> list[Record]:
    """Folder and file are the end of the URL: `.../VG_100K_2/1.jpg`."""
    images[record_id(record["image_id"])] = _Image(end_of_url(record["url"], 2), image_size(record))
    return []


def _image(images: dict[int, _Image], record: dict[str, Any]) -> _Image:
    found = images.get(record_id(record["image_id"]))
    if found is None:
        raise ValueError(f"image_data.json has no image {record['image_id']!r:.40}")
    return found


def _list(record: Any, key: str) -> list[Any]:
    found = record.get(key) if isinstance(record, dict) else None
    return found if isinstance(found, list) else [record]


def _region(region: dict[str, Any], images: dict[int, _Image], config: VisualGenomeConfig) -> Iterator[ForeignPair]:
    image = _image(images, region)
    yield ForeignPair(
        image=image_path(config.images, image.name),
        instruction=region["phrase"].strip(),
        kind="region",
        held_out=config.held_out,
        targets=(image.box(region["x"], region["y"], region["width"], region["height"]),),
        unite=True,
    )


def _by_name(things: list[Any]) -> dict[str, list[Any]]:
    """Objects by their first name; one that has none stands under ""."""
    named: dict[str, list[Any]] = defaultdict(list)
    for thing in things:
        names = thing.get("names") if isinstance(thing, dict) else None
        named[str(names[0]).strip() if isinstance(names, list) and names else ""].append(thing)
    return named


def _objects(
    name: str, things: list[Any], record: dict[str, Any], images: dict[int, _Image], config: VisualGenomeConfig
) -> Iterator[ForeignPair]:
    if not name:
        raise ValueError(f"an object without a name: {str(things[0])[:60]}")
    image = _image(images, record)
    yield ForeignPair(
        image=image_path(config.images, image.name),
        instruction=config.instruction.format(name=name),
        kind="object",
        held_out=config.held_out,
        targets=tuple(image.box(thing["x"], thing["y"], thing["w"], thing["h"]) for thing in things),
        unite=True,
    )
