"""Formats by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from ivm_data.config import build
from ivm_data.exports.export_format import Counts, Item
from storage.errors import ConfigError

FORMATS = {
    "coco": "coco:write_coco",
    "yolo-seg": "yolo:write_yolo",
    "labelme": "labelme:write_labelme",
    "label-studio": "label_studio:write_label_studio",
    "fiftyone": "fiftyone:write_fiftyone",
    "hf": "hugging_face:write_hugging_face",
    "webdataset": "web_dataset:write_web_dataset",
    "ivm-mix": "ivm_mix:write_ivm_mix",
    "llava": "llava:write_llava",
}
"""Name -> module in this package and function. Its options class is the type of the function's `options`."""


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
    return list(FORMATS)


def describe(name: str) -> FormatInfo:
    """What a format makes, loses and takes.

    Raises:
        ConfigError: an unknown name.
    """
    function, options_class = _load(name)
    makes, loses = (function.__doc__ or "").split("Loses: ")
    options = [f"{field.name}={field.default}" for field in dataclasses.fields(options_class)]
    return FormatInfo(name, makes.strip(), loses.strip(), options)


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
    if name not in FORMATS:
        raise ConfigError(f"unknown format {name!r}; choose one of {', '.join(names())}")
    module, attribute = FORMATS[name].split(":")
    function = getattr(import_module(f"{__package__}.{module}"), attribute)
    return function, get_type_hints(function)["options"]
