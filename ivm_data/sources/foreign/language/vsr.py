"""Visual Spatial Reasoning (Liu et al. 2023): `train.jsonl`, `dev.jsonl`, `test.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path


@dataclass(frozen=True)
class VsrConfig:
    """Which file.

    Attributes:
        captions: a split's JSONL file.
        images: folder of the image files, relative to the image root.
        held_out: these pairs only score.
    """

    captions: str
    images: str = "vsr"
    held_out: bool = False


def read_vsr(config: VsrConfig) -> Iterator[Record]:
    """VSR: a true caption is the instruction; nothing is labeled. False captions are left out.

    Reads: train.jsonl, dev.jsonl, test.jsonl
    """
    path = existing(config.captions, "captions")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield from checked(f"{path.name}: line {number}", _pairs, line, config)


def _pairs(line: bytes, config: VsrConfig) -> Iterator[ForeignPair]:
    """A false caption is no instruction, nor a negative: both of its things are mostly there, only not so."""
    row = json.loads(line)
    if row["label"] not in (0, 1):
        raise ValueError(f"'label' must be 0 or 1, got {row['label']!r}")
    if row["label"]:
        yield ForeignPair(
            image_path(config.images, row["image"]), row["caption"], row["relation"], held_out=config.held_out
        )
