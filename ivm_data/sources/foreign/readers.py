"""Readers of foreign data sets by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from ivm_data.config import build
from ivm_data.sources.foreign.common.foreign_reader import Record, reason
from storage.common.plugins import Registry
from storage.errors import ConfigError, IvmError

READERS = Registry(
    "source",
    "ivm.sources",
    {
        "coco": "ivm_data.sources.foreign.detection.coco:read_coco",
        "refcoco": "ivm_data.sources.foreign.language.refcoco:read_refcoco",
        "grefcoco": "ivm_data.sources.foreign.language.refcoco:read_grefcoco",
        "visual-genome": "ivm_data.sources.foreign.language.visual_genome:read_visual_genome",
        "gqa": "ivm_data.sources.foreign.language.gqa:read_gqa",
        "flickr30k": "ivm_data.sources.foreign.language.flickr30k:read_flickr30k",
        "textvqa": "ivm_data.sources.foreign.language.textvqa:read_textvqa",
        "openimages": "ivm_data.sources.foreign.detection.openimages:read_openimages",
        "vsr": "ivm_data.sources.foreign.language.vsr:read_vsr",
        "ivm-mix": "ivm_data.sources.foreign.language.ivm_mix:read_ivm_mix",
        "llava-instruct": "ivm_data.sources.foreign.language.llava_instruct:read_llava_instruct",
        "grit": "ivm_data.sources.foreign.language.grit:read_grit",
        "reasonseg": "ivm_data.sources.foreign.language.reasonseg:read_reasonseg",
        "sa-co": "ivm_data.sources.foreign.detection.sa_co:read_sa_co",
        "robot-frames": "ivm_data.sources.foreign.robots.robot_frames:read_robot_frames",
        "lerobot": "ivm_data.sources.foreign.robots.lerobot:read_lerobot",
        "rlds": "ivm_data.sources.foreign.robots.rlds:read_rlds",
        "label-studio": "ivm_data.sources.foreign.tools.label_studio:read_label_studio",
        "labelme": "ivm_data.sources.foreign.tools.labelme:read_labelme",
        "parquet": "ivm_data.sources.foreign.containers.tables:read_parquet",
        "hf-dataset": "ivm_data.sources.foreign.containers.tables:read_hf_dataset",
        "yolo": "ivm_data.sources.foreign.detection.yolo:read_yolo",
        "pascal-voc": "ivm_data.sources.foreign.detection.pascal_voc:read_pascal_voc",
        "cvat": "ivm_data.sources.foreign.tools.cvat:read_cvat",
        "mask-folder": "ivm_data.sources.foreign.detection.mask_folder:read_mask_folder",
        "webdataset": "ivm_data.sources.foreign.containers.web_dataset:read_web_dataset",
        "folder": "ivm_data.sources.foreign.containers.image_folder:read_folder",
    },
)
"""Name -> function. Its config class is the type of the function's `config`."""


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
    return READERS.names()


def describe(name: str) -> Reader:
    """What a reader makes and takes.

    Raises:
        ConfigError: an unknown name.
    """
    function, config_class = _load(name)
    fields = dataclasses.fields(config_class)
    needs = [field.name for field in fields if field.default is dataclasses.MISSING]
    options = [f"{field.name}={field.default}" for field in fields if field.name not in needs]
    makes, _, reads = (function.__doc__ or name).partition("Reads: ")
    return Reader(name, makes.strip(), reads.strip(), needs, options)


def describe_all() -> list[Reader]:
    """Every reader; of one whose package is broken, why."""
    found = []
    for name in names():
        try:
            found.append(describe(name))
        except ConfigError as error:
            found.append(Reader(name, str(error), "", [], []))
    return found


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
    function = READERS.get(name)
    try:
        return function, get_type_hints(function)["config"]
    except (KeyError, NameError, TypeError) as error:
        why = f"its argument 'config' has no annotation that can be read ({error!r})"
        raise READERS.broken(name, READERS.package(name), why) from error
