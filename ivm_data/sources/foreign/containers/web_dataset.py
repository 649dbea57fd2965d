"""WebDataset: tar shards in which the files of one sample share their name up to the first dot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, checked
from ivm_data.sources.manifest_keys import misnamed, truth
from storage.common.validation import Checked
from storage.errors import ConfigError
from storage.pixels import rle

_IMAGES = ("jpg", "jpeg", "png", "webp", "avif", "bmp", "tif", "tiff", "gif", "ppm")


@dataclass(frozen=True)
class WebDatasetConfig(Checked):
    """Which shards, and which files of a sample are what.

    Attributes:
        shards: a tar file, a folder of them, or a pattern such as `shard-*.tar`.
        image: extension of the image; the first usual one that a sample has where it is "".
        mask: extension of the mask, where a sample has one.
        text: extension of a text file that holds the instruction, where `json` has none.
        held_out: these pairs only score.
    """

    shards: str
    image: str = ""
    mask: str = "mask.png"
    text: str = "txt"
    held_out: bool = False


def read_web_dataset(config: WebDatasetConfig) -> Iterator[Record]:
    """WebDataset: a sample is a pair, its `json` holds the manifest's keys; images and masks are stored as files.

    Reads: *.tar
    """
    for path in _shards(config.shards):
        for sample in _samples(path):
            yield from checked(f"{path.name}: {sample['__key__']}", _pairs, sample, config)


def _shards(shards: str) -> list[Path]:
    import glob

    path = Path(shards)
    try:
        names = [str(one) for one in path.rglob("*.tar")] if path.is_dir() else glob.glob(shards, recursive=True)
        found = sorted(path for name in names if (path := Path(name)).is_file())
    except (OSError, ValueError):
        found = []
    if not found:
        raise ConfigError(f"'{shards}' is no tar, no folder of them, and no pattern that any has; set shards to one")
    return found


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    import webdataset

    try:
        # A list is not expanded, and an absolute path is no command that the library would run.
        yield from webdataset.WebDataset([os.path.abspath(path)], shardshuffle=False, empty_check=False)
    except ConfigError:
        raise
    except Exception as error:  # tarfile and the library raise many types on foreign bytes
        raise ConfigError(f"'{path}' cannot be read as a tar of samples: {str(error)[:200]}") from error


def _pairs(sample: dict[str, Any], config: WebDatasetConfig) -> Iterator[ForeignPair]:
    facts = json.loads(sample["json"]) if "json" in sample else {}
    if not isinstance(facts, dict):
        raise ValueError(f"its json must be an object, got {type(facts).__name__}")
    own = {name: value for name, value in facts.items() if name != "mask_rle"}
    if problem := misnamed(own):
        raise ValueError(problem)
    yield ForeignPair(
        image=_image(sample, config),
        instruction=_instruction(sample, facts, config),
        kind=facts.get("kind") or "",
        difficulty=facts.get("difficulty") or "",
        held_out=config.held_out or truth("held_out", facts.get("held_out")),
        targets=_targets(sample, facts, config),
        source=facts.get("source") or "",
    )


def _image(sample: dict[str, Any], config: WebDatasetConfig) -> bytes:
    names = (config.image,) if config.image else _IMAGES
    found = next((sample[name] for name in names if name in sample and name != config.mask), None)
    if not isinstance(found, bytes) or not found:
        files = ", ".join(name for name in sample if not name.startswith("__"))
        raise ValueError(f"it has no image; its files are {files[:100]}; set image to the extension")
    return found


def _instruction(sample: dict[str, Any], facts: dict[str, Any], config: WebDatasetConfig) -> str:
    if isinstance(facts.get("instruction"), str):
        return str(facts["instruction"])
    if config.text in sample:
        return bytes(sample[config.text]).decode("utf-8-sig").strip()
    raise ValueError(f"it has no instruction: neither in json nor as .{config.text}")


def _targets(sample: dict[str, Any], facts: dict[str, Any], config: WebDatasetConfig) -> tuple[Target, ...] | None:
    """What json says, or else the mask's picture. In our own export an empty mask says that the target is absent."""
    if facts.get("targets") is not None:
        if not isinstance(facts["targets"], list):
            raise ValueError(f"'targets' must be a list, got {facts['targets']!r:.60}")
        return tuple(dict(target) for target in facts["targets"])
    if isinstance(facts.get("mask_rle"), dict):
        runs = facts["mask_rle"]
        is_ours = "mask_by" in facts and not rle.area(rle.from_counts(runs["size"], runs["counts"]))
        return () if is_ours else ({"mask_rle": runs},)
    if isinstance(sample.get(config.mask), bytes):
        return ({"mask": sample[config.mask]},)
    return None
