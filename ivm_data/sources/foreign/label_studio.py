"""Label Studio: the JSON export of a project whose labels are brush strokes, polygons or rectangles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ivm_data.sources.foreign import brush
from ivm_data.sources.foreign.foreign_reader import BadRecord, ForeignPair, Target, checked, existing, image_path
from ivm_data.sources.foreign.json_stream import stream
from storage import rle
from storage.images import DEFAULT_LIMITS


@dataclass(frozen=True)
class LabelStudioConfig:
    """Which file, and where in a task image and instruction stand.

    Attributes:
        tasks: what the project exports as JSON.
        images: folder of the image files, relative to the image root.
        image, instruction: keys of a task's data.
        predictions: read a model's predictions where nobody annotated.
        held_out: these pairs only score.
    """

    tasks: str
    images: str = ""
    image: str = "image"
    instruction: str = "instruction"
    predictions: bool = False
    held_out: bool = False


def read_label_studio(config: LabelStudioConfig) -> Iterator[ForeignPair | BadRecord]:
    """Label Studio: a task is a pair, its last annotation the masks; one without a shape says that nothing is there.

    Reads: the project's export as JSON
    """
    path = existing(config.tasks, "tasks")
    for position, node in enumerate(stream(path)):
        yield from checked(f"{path.name}: [{position}]", _pairs, node.value, config)


def _pairs(task: dict[str, Any], config: LabelStudioConfig) -> Iterator[ForeignPair]:
    data = task["data"]
    given = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    if config.predictions and not given:
        given = task.get("predictions") or []
    targets = [_target(result) for result in given[-1]["result"]] if given else []
    yield ForeignPair(
        image=image_path(config.images, _file(data[config.image])),
        instruction=data[config.instruction],
        kind=str(data.get("kind") or ""),
        difficulty=str(data.get("difficulty") or ""),
        held_out=config.held_out,
        targets=tuple(target for target in targets if target is not None) if given else None,
        source=str(data.get("source") or ""),
    )


def _file(reference: str) -> str:
    """The path within local file serving (`/data/local-files/?d=...`), a plain path, or the end of a URL."""
    parts = urlsplit(reference)
    if served := parse_qs(parts.query).get("d"):
        return served[0]
    return PurePosixPath(unquote(parts.path)).name if parts.scheme or reference.startswith("/") else reference


def _target(result: dict[str, Any]) -> Target | None:
    """A shape, or None for what is none: a choice, a text, a relation."""
    value = result.get("value") or {}
    if not {"rle", "points", "x"} & set(value):
        return None
    if result.get("image_rotation"):
        raise ValueError(f"the image was turned by {result['image_rotation']} degrees while it was labeled")
    height, width = int(result["original_height"]), int(result["original_width"])
    if not 0 < height * width <= DEFAULT_LIMITS.max_pixels:
        raise ValueError(f"an image of (height, width) = {height, width}")
    if "rle" in value:
        mask = rle.encode(brush.decode(bytes(value["rle"]), height, width))
        return {"mask_rle": {"size": [height, width], "counts": mask.counts.decode("ascii")}}
    if "points" in value:
        return {"polygons": [_pixels(value["points"], height, width)]}
    if {"width", "height"} <= set(value):
        return _rectangle(value, height, width)
    raise ValueError(f"a result of type {result.get('type')!r} is no mask; brush, polygon and rectangle are read")


def _rectangle(value: dict[str, Any], height: int, width: int) -> Target:
    """A box in percent of the image; one that is turned, around its first corner and clockwise, is a polygon."""
    x, y, across, down = (float(value[name]) for name in ("x", "y", "width", "height"))
    corners = [(x, y), (x + across, y), (x + across, y + down), (x, y + down)]
    if not value.get("rotation"):
        x0, y0, _, _, x1, y1, _, _ = _pixels(corners, height, width)
        return {"box": [x0, y0, x1, y1]}
    cosine, sine = math.cos(math.radians(value["rotation"])), math.sin(math.radians(value["rotation"]))
    x0, y0 = x * width / 100, y * height / 100
    edges = [(dx * across * width / 100, dy * down * height / 100) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
    turned = [(x0 + dx * cosine - dy * sine, y0 + dx * sine + dy * cosine) for dx, dy in edges]
    return {"polygons": [[edge for point in turned for edge in point]]}


def _pixels(points: Any, height: int, width: int) -> list[float]:
    return [edge for x, y in points for edge in (x * width / 100, y * height / 100)]
