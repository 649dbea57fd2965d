"""Readers of foreign data sets by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from ivm_data.config import build
from ivm_data.sources.foreign.foreign_reader import Record, reason
from storage.errors import ConfigError, IvmError

READERS = {
    "coco": "coco:read_coco",
    "refcoco": "refcoco:read_refcoco",
    "grefcoco": "refcoco:read_grefcoco",
    "visual-genome": "visual_genome:read_visual_genome",
    "gqa": "gqa:read_gqa",
    "flickr30k": "flickr30k:read_flickr30k",
    "textvqa": "textvqa:read_textvqa",
    "openimages": "openimages:read_openimages",
    "vsr": "vsr:read_vsr",
    "ivm-mix": "ivm_mix:read_ivm_mix",
    "llava-instruct": "llava_instruct:read_llava_instruct",
    "grit": "grit:read_grit",
    "reasonseg": "reasonseg:read_reasonseg",
    "sa-co": "sa_co:read_sa_co",
    "robot-frames": "robot_frames:read_robot_frames",
    "rlds": "rlds:read_rlds",
    "label-studio": "label_studio:read_label_studio",
    "labelme": "labelme:read_labelme",
    "parquet": "tables:read_parquet",
    "hf-dataset": "tables:read_hf_dataset",
    "yolo": "yolo:read_yolo",
    "pascal-voc": "pascal_voc:read_pascal_voc",
    "cvat": "cvat:read_cvat",
    "mask-folder": "mask_folder:read_mask_folder",
    "webdataset": "web_dataset:read_web_dataset",
    "folder": "image_folder:read_folder",
}
"""Name -> module in this package and function. Its config class is the type of the function's `config`."""


class Reader(NamedTuple):
    """A reader as a person sees it.

    Attributes:
        makes: what becomes what.
        reads: the owner's files.
        needs: options that must be given.
        options: those that have a default, with it.
    """

    name: str
    makes: str
    reads: str
    needs: list[str]
    options: list[str]


def names() -> list[str]:
    """Every registered reader."""
    return list(READERS)


def describe(name: str) -> Reader:
    """What a reader makes and takes.

    Raises:
        ConfigError: an unknown name.
    """
    function, config_class = _load(name)
    fields = dataclasses.fields(config_class)
    needs = [field.name for field in fields if field.default is dataclasses.MISSING]
    options = [f"{field.name}={field.default}" for field in fields if field.name not in needs]
    makes, reads = (function.__doc__ or "").split("Reads: ")
    return Reader(name, makes.strip(), reads.strip(), needs, options)


def read(name: str, options: Mapping[str, Any]) -> Iterator[Record]:
    """The records of a foreign data set.

    Raises:
        ConfigError: an unknown name, an option that the reader does not have, or one that is missing; or files that are
            not as their owner writes them, so that they cannot be read on.
    """
    function, config_class = _load(name)
    records: Iterator[Record] = function(build(config_class, options, where=f"source {name!r}"))
    return _explained(name, records)


def _explained(name: str, records: Iterator[Record]) -> Iterator[Record]:
    """What foreign bytes make a reader raise between its records, in the engine's words."""
    try:
        yield from records
    except (IvmError, MemoryError):
        raise
    except Exception as error:
        raise ConfigError(
            f"the files of source {name!r} are not as their owner writes them: {reason(error)}"
        ) from error


def _load(name: str) -> tuple[Any, type]:
    if name not in READERS:
        raise ConfigError(f"unknown source {name!r}; choose one of {', '.join(names())}")
    module, attribute = READERS[name].split(":")
    function = getattr(import_module(f"{__package__}.{module}"), attribute)
    return function, get_type_hints(function)["config"]
