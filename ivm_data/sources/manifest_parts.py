"""Manifest -> parts: byte ranges that can be read, retried and committed each on its own.

A record is one line of a JSONL manifest, or one row of a table (which may span lines); a blank line is none.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ivm_data.sources.manifest_columns import Columns, read_columns
from ivm_data.sources.repeated_pairs import UNLABELED, Identity, Verdicts, settle, short_hash
from storage.errors import ConfigError

TABLES = (".csv", ".tsv")
"""What a table's name ends in; its first line tells what lies between the columns."""
SUFFIXES = (".jsonl", *TABLES)


@dataclass(frozen=True)
class ManifestPart:
    """A byte range of a manifest.

    Attributes:
        manifest: path of the manifest.
        name: `<data set>-<hash>-<index>`; the hash is of the manifest's content and the part size.
        digest: hash of the manifest's content, the frame of the ids of records without a sample.
        start, stop: byte offsets, stop exclusive.
        content: hash of the bytes in the range; tells when the manifest was edited after planning.
        first: index of the first record within the manifest, from 0.
        records: number of records.
        duplicates: positions in the part of records that repeat another one of the manifest, which counts.
        conflicts: positions in the part of records that contradict another one of the manifest.
        taken: positions of the records that are read; None for all.
        before: of parts that are labeled again, what each record taken ended as: a sample id, or "" where it stays the
            same pair.
        recordings: whole ones that it holds, where parts do not cut them.
        attempt: how often the pairs of a part that is labeled again were labeled, or 0.
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
    conflicts: tuple[int, ...] = ()
    taken: tuple[int, ...] | None = None
    before: tuple[str, ...] = ()
    attempt: int = 0
    recordings: int = 0

    @property
    def committed_name(self) -> str:
        """What it is called in a data set, unless more attempts were made at its pairs than the plan knew of."""
        return f"{self.name}@{self.attempt}" if self.attempt else self.name

    @property
    def positions(self) -> Sequence[int]:
        """Where in the byte range the records that are read lie."""
        return range(self.records) if self.taken is None else self.taken

    def records_of(self, plan: ManifestPlan) -> np.ndarray:
        """Hashes of the records that are read."""
        records_P = plan.record_N[self.first :]
        return records_P[: self.records] if self.taken is None else records_P[list(self.taken)]

    def only(self, taken: Sequence[int], before: Sequence[str] = (), attempt: int = 0) -> ManifestPart:
        """Some of the records of a whole part, under a name that follows from which those are."""
        *name, _, index = self.name.split("-")
        which = hashlib.blake2b(f"{self.name}/{list(taken)}/{attempt}".encode(), digest_size=4).hexdigest()
        return replace(
            self,
            name="-".join([*name, which, index]),
            records=len(taken),
            taken=tuple(taken),
            before=tuple(before),
            attempt=attempt,
        )


@dataclass(frozen=True, eq=False)
class ManifestPlan:
    """A manifest of N records, cut into parts.

    Attributes:
        record_N: hash of each record, 16 bytes: of its bytes without blanks at the ends, a CSV's header, and the folder
            that its paths are relative to.
        repeat_N: bool: it repeats or contradicts another record, and is not labeled.
    """

    parts: list[ManifestPart]
    record_N: np.ndarray
    repeat_N: np.ndarray

    @property
    def pairs(self) -> int:
        """N."""
        return len(self.record_N)


def dataset_name(manifest: Path) -> str:
    """The manifest's stem, or its folder's name for `manifest.*`, in characters that are safe in a file name."""
    path = manifest.resolve()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.parent.name if path.stem == "manifest" else path.stem)
    return name.strip("_.-")[:100] or "data"


def columns_of(manifest: Path) -> Columns | None:
    """The columns of a table; None for JSONL.

    Raises:
        ConfigError: the manifest cannot be opened, is of an unknown kind, has lines that end in bare CRs, or several
            columns that may be the image or the instruction.
    """
    if not manifest.is_file():
        seen = "a folder" if manifest.is_dir() else "not there"
        raise ConfigError(f"manifest '{manifest}' is {seen}; give the path of a {_either(SUFFIXES)} file")
    if manifest.suffix not in SUFFIXES:
        raise ConfigError(f"manifest '{manifest}' ends in '{manifest.suffix}'; it must be {_either(SUFFIXES)}")
    if manifest.suffix not in TABLES:
        return None
    with manifest.open("rb") as lines:
        first = next(_rows(lines), b"")
    try:
        return read_columns(first.decode("utf-8-sig", "replace"))
    except csv.Error as error:
        raise ConfigError(f"manifest '{manifest}' is no CSV ({error}); end its lines with newlines") from error
    except ConfigError as error:
        raise ConfigError(f"manifest '{manifest}': {error}") from error


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def split(
    manifest: Path, part_size: int, identify: Callable[[bytes], Identity | None], root: Path | None = None
) -> ManifestPlan:
    """Cut a manifest into parts of `part_size` records, in one pass.

    Repeated records are found by 8-byte hashes of each record's key and label: with the hash of the record 33 MB a
    million records, and some 40 MB more for the sort at the end; see `repeated_pairs` for which of them counts.

    Args:
        identify: what a record is about and what it says, or None for a record that cannot be read. Records of one
            `recording` lie in one part, which is larger for it.
        root: folder that paths in the records are relative to; the manifest's by default.

    Raises:
        ConfigError: a manifest that cannot be opened, is of an unknown kind, or is empty; a part size under 1.
    """
    if part_size < 1:
        raise ConfigError(f"'part_size' must be at least 1, got {part_size}")
    columns = columns_of(manifest)
    scan = _Scan(part_size, columns is not None, frame(manifest, manifest.parent if root is None else root))
    with manifest.open("rb") as lines:
        for raw in records(lines, columns):
            scan.add(raw, identify)
    if not scan.keys:
        raise ConfigError(f"manifest '{manifest}' has no records; each line needs 'image' and 'instruction'")
    digest, name = scan.whole.hexdigest(), dataset_name(manifest)
    whole = "/recordings" if scan.recordings else ""
    planned = hashlib.blake2b(f"{digest}/{part_size}{whole}".encode(), digest_size=4).hexdigest()
    verdicts = scan.verdicts()
    ranges = _whole_recordings(manifest, scan) if scan.recordings else scan.ranges()
    cut = [
        ManifestPart(
            manifest=str(manifest),
            name=f"{name}-{planned}-{index:05d}",
            digest=digest,
            start=start,
            stop=stop,
            content=content.hexdigest(),
            first=first,
            records=records,
            duplicates=tuple(np.flatnonzero(verdicts.duplicate_N[first : first + records]).tolist()),
            conflicts=tuple(np.flatnonzero(verdicts.conflict_N[first : first + records]).tolist()),
            recordings=len(set(scan.of_recording[first : first + records]) - {0}),
        )
        for index, (first, records, start, stop, content) in enumerate(ranges)
    ]
    return ManifestPlan(cut, np.frombuffer(scan.records, "S16"), verdicts.duplicate_N | verdicts.conflict_N)


def frame(manifest: Path, root: Path) -> bytes:
    """What a record's bytes mean depends on: the folder that paths in it are relative to, and a table's columns."""
    columns = columns_of(manifest)
    names = list(columns.names) if columns else []
    return hashlib.blake2b(f"{root.resolve()}/{names}".encode("utf-8", "surrogateescape")).digest()


def record_hash(frame: bytes, raw: bytes) -> bytes:
    """16 bytes that stand for a record."""
    return hashlib.blake2b(raw.strip(), digest_size=16, key=frame).digest()


class _Scan:
    """What one pass over a manifest remembers: hashes, where each part starts, and 33 bytes a record."""

    def __init__(self, part_size: int, skip_first: bool, frame: bytes) -> None:
        self.part_size, self.skip, self.records = part_size, skip_first, bytearray()
        self.frame = frame
        self.whole, self.offset = hashlib.blake2b(digest_size=16), 0
        self.keys, self.labels, self.held_out = array("Q"), array("Q"), array("B")
        self.starts: list[int] = []
        self.contents: list[hashlib.blake2b] = []
        self.recordings: dict[int, int] = {}
        self.offsets, self.of_recording = array("Q"), array("Q")

    def add(self, raw: bytes, identify: Callable[[bytes], Identity | None]) -> None:
        self.whole.update(raw)
        if raw.strip() and not self.skip:
            if len(self.keys) % self.part_size == 0:
                self.starts.append(self.offset)
                self.contents.append(hashlib.blake2b(digest_size=8))
            found = identify(raw)
            self.keys.append(0 if found is None else short_hash(found.key))
            self.labels.append(UNLABELED if found is None else found.label)
            self.held_out.append(found is not None and found.held_out)
            self.records += record_hash(self.frame, raw)
            self._remember(found)
        self.skip = False
        self.offset += len(raw)
        if self.contents:
            self.contents[-1].update(raw)

    def _remember(self, found: Identity | None) -> None:
        """Where the record lies, 16 bytes of it, where parts hold whole recordings."""
        key = short_hash(found.recording) if found is not None and found.recording else 0
        if key:
            self.recordings[key] = len(self.keys) - 1
        self.offsets.append(self.offset)
        self.of_recording.append(key)

    def verdicts(self) -> Verdicts:
        columns = (self.keys, np.uint64), (self.labels, np.uint64), (self.held_out, np.bool_)
        return settle(*(np.frombuffer(column, dtype) for column, dtype in columns))

    def ranges(self) -> Iterator[tuple[int, int, int, int, hashlib.blake2b]]:
        """First record, number of records, first byte, last byte exclusive and content of each part."""
        stops = [*self.starts[1:], self.offset]
        for index, (start, stop, content) in enumerate(zip(self.starts, stops, self.contents, strict=True)):
            first = index * self.part_size
            yield first, min(self.part_size, len(self.keys) - first), start, stop, content

    def firsts(self) -> list[int]:
        """The first record of each part where none may cut a recording."""
        lasts = (self.recordings.get(key, at) for at, key in enumerate(self.of_recording))
        reach_N = np.maximum.accumulate(np.fromiter(lasts, np.int64, len(self.of_recording)))
        ends_E, firsts = np.flatnonzero(reach_N == np.arange(len(reach_N))) + 1, [0]
        while len(reach_N) - firsts[-1] > self.part_size:
            firsts.append(int(ends_E[np.searchsorted(ends_E, firsts[-1] + self.part_size)]))
        return [first for first in firsts if first < len(reach_N)]


def _whole_recordings(manifest: Path, scan: _Scan) -> Iterator[tuple[int, int, int, int, hashlib.blake2b]]:
    """As `_Scan.ranges`, of parts that hold whole recordings."""
    firsts = scan.firsts()
    with manifest.open("rb") as file:
        for first, end in pairwise([*firsts, len(scan.keys)]):
            start, stop = scan.offsets[first], scan.offsets[end] if end < len(scan.keys) else scan.offset
            file.seek(start)
            yield first, end - first, start, stop, hashlib.blake2b(file.read(stop - start), digest_size=8)


def read(part: ManifestPart) -> list[bytes]:
    """The records that are taken of the part as raw bytes, in order.

    Raises:
        ConfigError: the manifest's bytes are no longer those that were planned.
    """
    manifest = Path(part.manifest)
    columns = columns_of(manifest)
    with manifest.open("rb") as file:
        file.seek(part.start)
        data = file.read(part.stop - part.start)
    if hashlib.blake2b(data, digest_size=8).hexdigest() != part.content:
        raise ConfigError(f"manifest '{manifest}' was changed after part '{part.name}' was planned; plan it again")
    found = [raw for raw in records(io.BytesIO(data), columns) if raw.strip()]
    return found if part.taken is None else [found[position] for position in part.taken]


def records(lines: Iterable[bytes], columns: Columns | None) -> Iterator[bytes]:
    """The raw bytes of each line, or of each row of a table, its columns first."""
    return _rows(lines, columns.separator) if columns else iter(lines)


def _rows(lines: Iterable[bytes], separator: str = ",") -> Iterator[bytes]:
    """The raw bytes of each row; a row that csv refuses is one record too, and the next starts on the next line."""
    taken: list[bytes] = []

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape")

    rows = csv.reader(feed(), delimiter=separator)
    while True:
        try:
            next(rows)
        except StopIteration:
            return
        except csv.Error:
            pass
        yield b"".join(taken)
        taken.clear()
