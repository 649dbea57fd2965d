"""Which parts a file holds: the one that it is named after or, since a compaction, many.

A compacted file is named `<first part>+<16 hex digits>` and lists its parts in its footer. It takes the place of every
file whose parts it holds, from the moment when it appears: so a compaction is one rename, and what it replaced can be
deleted at leisure. Such a name follows from the contents, therefore a footer that was read once stays true.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ShardError
from storage.parts.files import CONTENT, replace

PARTS = b"ivm_parts"
"""Key of the list of parts in a compacted file's footer."""

MARK = ".compacted"
"""File of a folder that is another one whenever a compacted file has come; data sets of earlier versions have none."""

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


def announce(folder: Path) -> None:
    """Say that a compacted file has come; call it inside `alone_in(folder)`, before what the file replaces goes."""
    token = secrets.token_hex(8).encode()
    replace(folder / MARK, lambda hidden: hidden.write_bytes(token))


def find(folder: Path, suffix: str, part: str) -> tuple[Path, CommittedPart] | None:
    """The compacted file that holds a part, and how the part was committed; None where none does.

    The folder is listed the first time, and again when a compacted file has come or gone, not for each part.

    Raises:
        ShardError: a compacted file cannot be read, so that its parts are unknown.
    """
    mark, known = _mark(folder), _KNOWN.get((folder, suffix))
    if known is None or known[0] != mark or (part in known[1] and not known[1][part][0].exists()):
        return in_compacted(folder, suffix).get(part)
    return known[1].get(part)


def in_compacted(folder: Path, suffix: str) -> Mapping[str, tuple[Path, CommittedPart]]:
    """Every part that lies in a compacted file, by name, in one listing of the folder; see `find`."""
    mark, found = _mark(folder), dict[str, tuple[Path, CommittedPart]]()
    files = {path: _read(path, suffix) for path in _footers(folder, suffix)}
    for path, parts in sorted(files.items(), key=lambda item: len(item[1])):
        found |= {part.name: (path, part) for part in parts}
    _KNOWN[folder, suffix] = (mark, found)
    return found


def _mark(folder: Path) -> tuple[int, bytes]:
    """What is another one when the folder, or a compacted file in it, has come."""
    number, token = 0, b""
    with suppress(FileNotFoundError):
        number = folder.stat().st_ino
        token = (folder / MARK).read_bytes()
    return number, token


_KNOWN: dict[tuple[Path, str], tuple[tuple[int, bytes], Mapping[str, tuple[Path, CommittedPart]]]] = {}
"""(folder, suffix) -> its mark before it was last listed, and what lay in its compacted files."""


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
