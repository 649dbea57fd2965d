"""Which parts a file holds: the one that it is named after or, since a compaction, many.

A compacted file is named `<first part>+<16 hex digits>` and lists its parts in its footer. It takes the place of every
file whose parts it holds, from the moment when it appears: so a compaction is one rename, and what it replaced can be
deleted at leisure. Such a name follows from the contents, therefore a footer that was read once stays true.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ShardError
from storage.files import CONTENT

PARTS = b"ivm_parts"
"""Key of the list of parts in a compacted file's footer."""

_COMPACTED = re.compile(r".+\+[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class CommittedPart:
    """A committed part: its name, the hash of its contents, and its rows in the file."""

    name: str
    content: str
    rows: int


def listing(parts: Iterable[CommittedPart]) -> bytes:
    """What a compacted file's footer holds under `PARTS`; rows lie in the file in this order."""
    return json.dumps([astuple(part) for part in parts]).encode()


def joint_name(parts: Sequence[CommittedPart]) -> str:
    """The name of a file that holds these parts: it sorts where the first part does, and follows from the contents."""
    return f"{parts[0].name[:180]}+{hashlib.blake2b(listing(parts), digest_size=8).hexdigest()}"


def parts_of(name: str, rows: int, metadata: Mapping[bytes, bytes] | None) -> tuple[CommittedPart, ...]:
    """The parts of a file, from its name without suffix and its footer."""
    metadata = metadata or {}
    if PARTS in metadata:
        return tuple(CommittedPart(*entry) for entry in json.loads(metadata[PARTS]))
    return (CommittedPart(name, metadata.get(CONTENT, b"").decode(), rows),)


def superseded(parts: Mapping[Path, tuple[CommittedPart, ...]]) -> set[Path]:
    """Those of a folder's files that another one has taken the place of."""
    largest: dict[str, Path] = {}
    for path, held in sorted(parts.items(), key=lambda item: len(item[1])):
        largest.update(dict.fromkeys((part.name for part in held), path))
    return {path for path, held in parts.items() if any(largest[part.name] != path for part in held)}


def compacted(folder: Path, suffix: str) -> set[Path]:
    """The files of a folder that hold several parts, going by their names."""
    return {path for path in folder.glob(f"*{suffix}") if is_compacted(path.name.removesuffix(suffix))}


def is_compacted(name: str) -> bool:
    """Whether a file of this name, without suffix, holds several parts."""
    return _COMPACTED.fullmatch(name) is not None


def in_compacted(folder: Path, suffix: str) -> Iterator[tuple[Path, CommittedPart]]:
    """Every part that lies in a compacted file, with that file.

    Raises:
        ShardError: a compacted file cannot be read, so that its parts are unknown.
    """
    for path in _footers(folder, suffix):
        for part in _read(path, suffix):
            yield path, part


def _footers(folder: Path, suffix: str) -> set[Path]:
    """The compacted files, with their footers read; a file that a new compaction removes meanwhile is not one."""
    while True:
        paths = compacted(folder, suffix)
        try:
            for path in paths:
                _read(path, suffix)
            return paths
        except FileNotFoundError:
            continue


@lru_cache(maxsize=10_000)
def _read(path: Path, suffix: str) -> tuple[CommittedPart, ...]:
    try:
        found = pq.read_metadata(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ShardError(
            f"'{path}' holds several parts and cannot be read ({error}); move it away and label its parts again"
        ) from error
    return parts_of(path.name.removesuffix(suffix), found.num_rows, found.metadata)
