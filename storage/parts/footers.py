"""What the footers of a data set's files say, kept in DATA/.footers.json, so that each footer is read once.

A file is known by its inode, size and time of change; one that is as young as the clock is coarse is read again. The
file can be removed: the next opening of many files makes it anew. A folder that cannot be written goes without.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.disk.publish import write_text
from storage.parts.part_files import CommittedPart

NAME = ".footers.json"
_VERSION = 1
_WORTH = 64
"""Footers that must have been read anew to be written down, and one in `_WORTH_OF` of all."""
_WORTH_OF = 16
_YOUNG_NS = 2_000_000_000
"""Age of a file below which it may still change without its time of change doing so."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What is known of a usable file.

    Attributes:
        content: hash that the file was written with, or "".
        parts: that it holds.
        older: it lacks a column of `storage.parts.schema.LATER`.
    """

    content: str = ""
    parts: tuple[CommittedPart, ...] = ()
    older: bool = False


class Footers:
    """The footers of a data set, as far as they are known.

    Args:
        schemas: that files are held against; where they change, nothing is known.
    """

    def __init__(self, data: Path, schemas: Mapping[str, pa.Schema]) -> None:
        self.data, self._began = data, time.time_ns()
        self._version = _version(schemas)
        self._known = _load(data / NAME, self._version)
        self._kept: dict[str, list[Any]] = {}
        self._read = 0

    def of(self, name: str, read: Callable[[], tuple[str, Footer]]) -> tuple[str, Footer]:
        """Why a file cannot be used, or "", and what its footer says.

        Args:
            name: of the file, relative to the data set.
            read: reads the footer; called where it is not known.

        Raises:
            FileNotFoundError: it is gone.
        """
        stat = os.stat(self.data / name)
        seen = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
        known = self._known.get(name)
        if known is not None and known[:3] == seen:
            self._kept[name] = known
            content, older, parts = known[3:]
            return "", Footer(content, tuple(CommittedPart(*part) for part in parts), older)
        why, footer = read()
        if not why and stat.st_mtime_ns < self._began - _YOUNG_NS:
            self._read += 1
            self._kept[name] = [*seen, footer.content, footer.older, [astuple(part) for part in footer.parts]]
        return why, footer

    def keep(self) -> None:
        """Write down what was read anew, where that is much."""
        if self._read >= max(_WORTH, len(self._kept) // _WORTH_OF):
            text = json.dumps(self._kept)
            with suppress(OSError):
                write_text(self.data / NAME, f"{self._version} {_digest(text.encode())}\n{text}")


def _version(schemas: Mapping[str, pa.Schema]) -> str:
    text = "\n".join(f"{kind}\n{schema.to_string(show_schema_metadata=True)}" for kind, schema in schemas.items())
    return _digest(f"{_VERSION}\n{text}".encode())


def _load(path: Path, version: str) -> dict[str, list[Any]]:
    try:
        head, text = path.read_bytes().split(b"\n", 1)
        found: dict[str, list[Any]] = json.loads(text) if head.decode() == f"{version} {_digest(text)}" else {}
        return found
    except (OSError, ValueError):
        return {}


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()
