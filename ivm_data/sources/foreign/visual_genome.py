"""Visual Genome (Krishna et al. 2017): `region_descriptions.json`, `objects.json`, `image_data.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, box_target, checked, existing, image_path
from ivm_data.sources.foreign.json_stream import stream
from ivm_data.sources.foreign.wording import Template
from storage.errors import ConfigError
from storage.validation import Checked


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


def read_visual_genome(config: VisualGenomeConfig) -> Iterator[ForeignPair | BadRecord]:
    """Visual Genome: a region's phrase is an instruction with its box; an object's name one with all boxes so named.

    Reads: image_data.json, region_descriptions.json, objects.json
    """
    image_data = existing(config.image_data, "image_data")
    images: dict[int, str] = {}
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


def _remember(images: dict[int, str], record: dict[str, Any]) -> list[ForeignPair]:
    """Folder and file are the end of the URL: `.../VG_100K_2/1.jpg`."""
    images[record["image_id"]] = "/".join(PurePosixPath(urlsplit(record["url"]).path).parts[-2:])
    return []


def _list(record: Any, key: str) -> list[Any]:
    found = record.get(key) if isinstance(record, dict) else None
    return found if isinstance(found, list) else [record]


def _region(region: dict[str, Any], images: dict[int, str], config: VisualGenomeConfig) -> Iterator[ForeignPair]:
    yield ForeignPair(
        image=image_path(config.images, images[region["image_id"]]),
        instruction=region["phrase"].strip(),
        kind="region",
        held_out=config.held_out,
        targets=(box_target(region["x"], region["y"], region["width"], region["height"]),),
    )


def _by_name(things: list[Any]) -> dict[str, list[Any]]:
    """Objects by their first name; one that has none stands under ""."""
    named: dict[str, list[Any]] = defaultdict(list)
    for thing in things:
        names = thing.get("names") if isinstance(thing, dict) else None
        named[str(names[0]).strip() if names else ""].append(thing)
    return named


def _objects(
    name: str, things: list[Any], record: dict[str, Any], images: dict[int, str], config: VisualGenomeConfig
) -> Iterator[ForeignPair]:
    if not name:
        raise ValueError(f"an object without a name: {str(things[0])[:60]}")
    yield ForeignPair(
        image=image_path(config.images, images[record["image_id"]]),
        instruction=config.instruction.format(name=name),
        kind="object",
        held_out=config.held_out,
        targets=tuple(box_target(thing["x"], thing["y"], thing["w"], thing["h"]) for thing in things),
    )
