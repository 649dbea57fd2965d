"""Formats by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from ivm_data.config import build
from ivm_data.exports.export_format import Counts, Item
from storage.common.plugins import Registry
from storage.errors import ConfigError

FORMATS = Registry(
    "format",
    "ivm.exports",
    {
        "coco": "ivm_data.exports.coco:write_coco",
        "yolo-seg": "ivm_data.exports.yolo:write_yolo",
        "labelme": "ivm_data.exports.labelme:write_labelme",
        "label-studio": "ivm_data.exports.label_studio:write_label_studio",
        "fiftyone": "ivm_data.exports.fiftyone:write_fiftyone",
        "hf": "ivm_data.exports.hugging_face:write_hugging_face",
        "webdataset": "ivm_data.exports.web_dataset:write_web_dataset",
        "ivm-mix": "ivm_data.exports.ivm_mix:write_ivm_mix",
        "llava": "ivm_data.exports.llava:write_llava",
        "lerobot": "ivm_data.exports.lerobot:write_lerobot",
    },
)
"""Name -> function. Its options class is the type of the function's `options`."""


class FormatInfo(NamedTuple):
    """A format as a person sees it.

    Attributes:
        makes: what becomes what, and for whom.
        loses: what of a label is not in it.
        options: with their defaults.
    """

    name: str
    makes: str
    loses: str
    options: list[str]


def names() -> list[str]:
    """Every registered format."""
    return FORMATS.names()


def describe(name: str) -> FormatInfo:
    """What a format makes, loses and takes.

    Raises:
        ConfigError: an unknown name.
    """
    function, options_class = _load(name)
    makes, _, loses = (function.__doc__ or name).partition("Loses: ")
    options = [f"{field.name}={field.default}" for field in dataclasses.fields(options_class)]
    return FormatInfo(name, makes.strip(), loses.strip(), options)


def describe_all() -> list[FormatInfo]:
    """Every format; of one whose package is broken, why."""
    found = []
    for name in names():
        try:
            found.append(describe(name))
        except ConfigError as error:
            found.append(FormatInfo(name, str(error), "", []))
    return found


def writer(name: str, options: Mapping[str, Any]) -> Callable[[Iterable[Item], Path], Counts]:
    """The function that writes labels into an empty folder.

    Raises:
        ConfigError: an unknown name, or an option that the format does not have.
    """
    function, options_class = _load(name)
    chosen = build(options_class, options, where=f"format {name!r}")
    return lambda items, folder: function(_once(items), folder, chosen)


def _once(items: Iterable[Item]) -> Iterator[Item]:
    """Each sample once, also of a data set that holds it twice: a folder and a shard have one file of a name."""
    seen: set[str] = set()
    for item in items:
        if item.label.sample.id not in seen:
            seen.add(item.label.sample.id)
            yield item


def _load(name: str) -> tuple[Any, type]:
    function = FORMATS.get(name)
    try:
        return function, get_type_hints(function)["options"]
    except (KeyError, NameError, TypeError) as error:
        why = f"its argument 'options' has no annotation that can be read ({error!r})"
        raise FORMATS.broken(name, FORMATS.package(name), why) from error
