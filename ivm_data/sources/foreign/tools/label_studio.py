"""Label Studio: a project exported as JSON or JSON-MIN, of instructions or of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, LeftOut, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import Claims, end_of_url, image_path
from ivm_data.sources.foreign.common.json_stream import stream
from ivm_data.sources.foreign.common.labeled_shapes import Shape, pairs_of_labels
from ivm_data.sources.foreign.common.wording import Template
from ivm_data.sources.foreign.tools.label_studio_shapes import is_shape, target_of
from storage.common.validation import Checked

_ANSWERS = {"choices", "textarea", "text", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker", "relation"}
"""Types of results that say something of an image or a region, and mark nothing."""


@dataclass(frozen=True)
class LabelStudioConfig(Checked):
    """Which file, and where in a task image and instruction stand.

    Attributes:
        tasks: what the project exports as JSON or JSON-MIN.
        images: folder of the image files, relative to the image root.
        image, instruction: keys of a task's data.
        template: where no task has an instruction, each label is one, with `{name}` for it.
        prefix: what stands before the path to keep, such as `s3://bucket/`; without it of a URL the last part is kept.
        to_name: name of the image's tag, where a task shows several images.
        predictions: read a model's predictions where nobody annotated.
        held_out: these pairs only score.
    """

    tasks: str
    images: str = ""
    image: str = "image"
    instruction: str = "instruction"
    template: Template = "Find every {name}."
    prefix: str = ""
    to_name: str = ""
    predictions: bool = False
    held_out: bool = False


@dataclass
class _Project:
    """What all tasks together say.

    Attributes:
        asks: some task has an instruction.
        latest: of each task of JSON-MIN, (when it was annotated, position) of its last annotation.
    """

    claims: Claims = field(default_factory=Claims)
    asks: bool = False
    latest: dict[str, tuple[str, int]] = field(default_factory=dict)

    def know(self, position: int, task: Any, config: LabelStudioConfig) -> None:
        try:
            data = _data(task)
            self.asks = self.asks or isinstance(data.get(config.instruction), str)
            if not isinstance(task.get("data"), dict) and task.get("id") is not None:
                found = str(task.get("created_at") or ""), -position
                self.latest[str(task["id"])] = max(found, self.latest.get(str(task["id"]), found))
            self.claims.add(_file(data[config.image], config), data[config.image])
        except Exception:  # the task is a bad record when it is read
            return


class Region(NamedTuple):
    """A shape: its kind, its labels, and the result that draws it."""

    kind: str
    labels: list[str]
    result: dict[str, Any]


def read_label_studio(config: LabelStudioConfig) -> Iterator[Record]:
    """Label Studio: a task is a pair, or each of its labels one; the regions of its last annotation are the masks.

    Reads: the project's export as JSON or JSON-MIN
    """
    path = existing(config.tasks, "tasks")
    project = _Project()
    for position, node in enumerate(stream(path)):
        project.know(position, node.value, config)
    for position, node in enumerate(stream(path)):
        where = f"{path.name}: [{position}]"
        yield from checked(where, _records, where, position, node.value, project, config)


def _records(
    where: str, position: int, task: dict[str, Any], project: _Project, config: LabelStudioConfig
) -> Iterator[Record]:
    data = _data(task)
    if config.image not in data:
        raise ValueError(f"the task has no {config.image!r}; set image to the key of its data")
    latest = project.latest.get(str(task.get("id")))
    if latest and latest[1] != -position:
        yield LeftOut("earlier annotation of a task")
        return
    name = _file(data[config.image], config)
    project.claims.check(name, "set prefix to what stands before the path to keep")
    image, results = image_path(config.images, name), _results(task, config)
    regions, others = regions_of(results or [], data, config)
    if config.instruction in data:
        yield from _pair(image, data, results, regions, config)
    elif project.asks:
        raise ValueError(f"the task has no {config.instruction!r}, which others have")
    elif regions:
        drawn, unnamed = _by_label(regions)
        yield from pairs_of_labels(ForeignPair(image, config.template, held_out=config.held_out), drawn, where)
        yield from unnamed
    else:
        yield LeftOut("task without shapes")
    yield from others


def _pair(
    image: str, data: dict[str, Any], results: list[Any] | None, regions: list[Region], config: LabelStudioConfig
) -> Iterator[Record]:
    """Nothing is there where the annotation is empty; what marks nothing, such as a choice, says nothing of that."""
    found = [target_of(region.result) for region in regions]
    left_out = [one for one in found if isinstance(one, LeftOut)]
    targets = tuple(one for one in found if not isinstance(one, LeftOut))
    yield from left_out
    yield ForeignPair(
        image=image,
        instruction=data[config.instruction],
        kind=str(data.get("kind") or ""),
        difficulty=str(data.get("difficulty") or ""),
        held_out=config.held_out,
        targets=targets if targets or results == [] else None,
        source=str(data.get("source") or ""),
    )


def _data(task: Any) -> dict[str, Any]:
    """The task's data; a task of JSON-MIN holds it beside its regions."""
    if not isinstance(task, dict):
        raise ValueError(f"a task must be an object, got {task!r:.60}")
    data = task.get("data")
    return data if isinstance(data, dict) else task


def _results(task: dict[str, Any], config: LabelStudioConfig) -> list[Any] | None:
    """What the last annotation holds; None where nobody annotated."""
    if not isinstance(task.get("data"), dict):
        return _flat_results(task) or None  # JSON-MIN does not tell an empty annotation from answers to questions
    every = task.get("annotations") or task.get("completions") or []
    given = [one for one in every if not (one.get("was_cancelled") or one.get("skipped"))]
    if config.predictions and not given:
        given = task.get("predictions") or []
    if not given:
        return None
    found = given[-1].get("result")
    if not isinstance(found, list):
        raise ValueError(f"an annotation's 'result' must be a list, got {found!r:.60}")
    return found


def _flat_results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The regions of a task of JSON-MIN, as JSON has them."""
    results = []
    for value in task.values():
        for one in value if isinstance(value, list) else ():
            if isinstance(one, dict) and ("original_width" in one or is_shape(one)):
                sizes = {name: one.get(name) for name in ("original_width", "original_height")}
                results.append({"type": _type_of(one), "value": one, **sizes})
    return results


def _type_of(value: dict[str, Any]) -> str:
    return next((name for name in value if name.endswith("labels")), str(value.get("type") or "a region").lower())


def regions_of(
    results: list[Any], data: dict[str, Any], config: LabelStudioConfig
) -> tuple[list[Region], list[Record]]:
    """The shapes of the image that an annotation's results draw, and what marks nothing there.

    Raises:
        ValueError: a result of an unknown type, or shapes of which none is known to be of this image.
    """
    drawn, others, named = list[dict[str, Any]](), list[Record](), dict[str, list[str]]()
    geometry = {result.get("id") for result in results if is_shape(result.get("value")) and not _is_naming(result)}
    for result in results:
        kind, value = str(result.get("type") or ""), result.get("value")
        if _is_naming(result):
            named.setdefault(str(result.get("id")), []).extend(_labels(value or {}))
        if kind in _ANSWERS:
            others.append(LeftOut(kind))
        elif is_shape(value) and not (_is_naming(result) and result.get("id") in geometry):
            drawn.append(result)
        elif not _is_naming(result):
            raise ValueError(f"a result of type {kind!r:.60} is not known, so that nobody knows what it marks")
    own = _own(drawn, data, config)
    others += [LeftOut("region of another image")] * (len(drawn) - len(own))
    if drawn and not own:
        raise ValueError("every region is of another image of the task")
    regions = []
    for result in own:
        labels = [*_labels(result["value"]), *named.get(str(result.get("id")), ())]
        kind = str(result.get("type") or "region").removesuffix("labels")
        regions.append(Region(kind, list(dict.fromkeys(labels)), result))
    return regions, others


def _is_naming(result: dict[str, Any]) -> bool:
    """A result that names a region which another result with the same id draws."""
    return result.get("type") == "labels"


def _labels(value: dict[str, Any]) -> list[str]:
    return [label for name, given in value.items() if name.endswith("labels") for label in given or ()]


def _own(drawn: list[dict[str, Any]], data: dict[str, Any], config: LabelStudioConfig) -> list[dict[str, Any]]:
    """The regions of the image that is read, by the name of the tag that they were drawn on."""
    names = {str(result["to_name"]) for result in drawn if result.get("to_name") is not None}
    wanted = config.to_name or (config.image if config.image in names else "")
    if wanted:
        return [result for result in drawn if str(result.get("to_name", wanted)) == wanted]
    if len(names) > 1:
        raise ValueError(f"the task has regions of {', '.join(sorted(names))[:80]}; set to_name to the image's tag")
    is_other = bool(names) and isinstance(data.get(next(iter(names))), str)
    return [] if is_other else drawn


def _by_label(regions: list[Region]) -> tuple[list[Shape], list[Record]]:
    drawn = [Shape(label, partial(target_of, region.result)) for region in regions for label in region.labels]
    return drawn, [LeftOut(f"{region.kind} without a label") for region in regions if not region.labels]


def _file(reference: Any, config: LabelStudioConfig) -> str:
    """The path within local file serving (`/data/local-files/?d=...`), a plain path, or the end of a URL."""
    if not isinstance(reference, str) or not reference:
        raise ValueError(f"the image must be text, got {reference!r:.60}")
    if config.prefix:
        if not reference.startswith(config.prefix):
            raise ValueError(f"the image {reference!r:.80} does not start with the prefix {config.prefix!r}")
        return reference.removeprefix(config.prefix).lstrip("/")
    if PureWindowsPath(reference).drive:
        return PureWindowsPath(reference).name
    parts = urlsplit(reference)
    if served := parse_qs(parts.query).get("d"):
        return served[0]
    return end_of_url(reference) if parts.scheme or reference.startswith("/") else reference
