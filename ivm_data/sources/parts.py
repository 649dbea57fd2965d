"""Manifest -> parts: byte ranges that can be read, retried and committed each on its own.

A record is one line of a JSONL manifest, or one row of a CSV manifest (which may span lines). Blank lines are no records.
"""

from __future__ import annotations

import csv
import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.errors import ConfigError

SUFFIXES = (".jsonl", ".csv")


@dataclass(frozen=True)
class Part:
    """A byte range of a manifest.

    Attributes:
        manifest: path of the manifest.
        name: `<data set>-<hash>-<index>`, from the manifest's name, its content with the part size, and the position.
        digest: hash of the whole manifest, the frame of the ids of records without a sample.
        start, stop: byte offsets, stop exclusive.
        content: hash of the bytes in the range, so that a manifest edited after planning is noticed.
        first: index of the first record in the manifest, from 0.
        records: number of records.
        duplicates: positions in this part whose (image reference, instruction) an earlier record of the manifest has.
    """

    manifest: str
    name: str
    digest: str
    start: int
    stop: int
    content: str
    first: int
    records: int
    duplicates: tuple[int, ...] = ()


def dataset_name(manifest: Path) -> str:
    """The manifest's stem, or its folder's name for `manifest.*`, in characters that are safe in a file name."""
    path = manifest.resolve()
    return re.sub(r"[^\w.-]+", "_", path.parent.name if path.stem == "manifest" else path.stem)


def split(manifest: Path, part_size: int, key: Callable[[bytes], bytes | None]) -> list[Part]:
    """Cut a manifest into parts of `part_size` records, in one pass that keeps 8 bytes a record.

    Duplicates are found by an 8-byte hash of the key: 8 MB, and 24 MB more while sorting, a million records; among a
    million records one pair collides by chance with probability 3e-8.

    Args:
        key: what makes a record unique, or None for a record that cannot be read.

    Raises:
        ConfigError: no such file, an unknown suffix, no records, or a part size under 1.
    """
    if part_size < 1:
        raise ConfigError(f"'part_size' must be at least 1, got {part_size}")
    check_file(manifest)
    whole, ranges, keys = hashlib.blake2b(digest_size=16), _Ranges(part_size), array("Q")
    with manifest.open("rb") as lines:
        for raw in records(lines, manifest.suffix, whole.update):
            found = key(raw) if raw.strip() else None
            ranges.add(raw)
            if raw.strip():
                keys.append(0 if found is None else int.from_bytes(hashlib.blake2b(found, digest_size=8).digest()))
    return []
