"""Records of a foreign reader -> our manifest, and the count of what became what."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

import numpy as np

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, LeftOut, Record, Target
from ivm_data.sources.lines import whole_manifest
from ivm_data.sources.manifest_rows import tidy_instruction
from ivm_data.sources.repeated_pairs import UNLABELED, label_hash, pair_key, settle, short_hash
from storage.errors import ConfigError

_TEXTS = ("instruction", "kind", "difficulty", "source")


@dataclass
class Written:
    """What `write_manifest` wrote.

    Attributes:
        pairs: lines with an image and an instruction.
        labeled: pairs with targets, or without any thing to mark.
        absent: labeled pairs whose thing is not in the image.
        held_out: pairs that only score.
        united: pairs that became one with an earlier one.
        duplicates: pairs that repeat another one.
        conflicts: pairs of one image and instruction whose targets differ; `ivm label` takes none of them.
        bad: records that could not be used.
        first_bad: what was wrong with the first of them.
        left_out: marks that are no targets, by kind.
        files: names of the images and masks that were stored.
    """

    pairs: int = 0
    labeled: int = 0
    absent: int = 0
    held_out: int = 0
    united: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: int = 0
    first_bad: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)


def write_manifest(records: Iterable[Record], out: Path, source: str) -> Written:
    """Write a JSONL manifest, one line a record; it appears last and whole.

    Args:
        out: path that ends in .jsonl; a file there is replaced. Image bytes go to `images/` beside it and those of
            masks to `masks/`, named by their hash.
        source: name of the data set, where a pair names none.

    Raises:
        ConfigError: another suffix, no records at all, or an image of this machine that is not below the manifest.
    """
    with whole_manifest(out) as lines:
        writer = _Writer(lines, out.parent, source)
        for record in records:
            writer.add(record)
        writer.finish()
    return writer.written


class _Writer:
    """Writes lines, and remembers 25 bytes of each: what it is about, what it says, and what it may unite with."""

    def __init__(self, lines: TextIO, folder: Path, source: str) -> None:
        self.lines, self.folder, self.source = lines, folder, source
        self.written = Written()
        self.keys, self.labels, self.held_out, self.unites = array("Q"), array("Q"), array("B"), array("B")

    def add(self, record: Record) -> None:
        if isinstance(record, LeftOut):
            self.written.left_out[record.kind] += 1
            return
        row = self._row(record) if isinstance(record, ForeignPair) else record
        line = self._line(row) if isinstance(row, dict) else row
        if isinstance(line, BadRecord):
            self.lines.write(self._bad(line) + "\n")
            self._remember(None, False)
        else:
            self.lines.write(line + "\n")
            self._remember(row if isinstance(row, dict) else None, isinstance(record, ForeignPair) and record.unite)

    def finish(self) -> None:
        """Unite what belongs together, and count.

        Raises:
            ConfigError: no record was added.
        """
        written = self.written
        if not len(self.keys):
            left = ", ".join(f"{count} {kind}" for kind, count in written.left_out.most_common(5))
            seen = f" (left out: {left})" if left else ""
            raise ConfigError(f"source '{self.source}' holds no records{seen}; check the files that its options name")
        self._unite()
        key_N, label_N = np.frombuffer(self.keys, np.uint64), np.frombuffer(self.labels, np.uint64)
        held_out_N = np.frombuffer(self.held_out, np.bool_)
        verdicts = settle(key_N, label_N, held_out_N)
        absent = label_hash((), None)
        written.pairs, written.held_out = int((key_N != 0).sum()), int(held_out_N.sum())
        written.labeled, written.absent = int((label_N != UNLABELED).sum()), int((label_N == absent).sum())
        written.duplicates, written.conflicts = int(verdicts.duplicate_N.sum()), int(verdicts.conflict_N.sum())

    def _line(self, row: dict[str, Any]) -> str | BadRecord:
        try:
            return json.dumps(row, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return BadRecord(f"image {str(row['image'])[:80]}", f"{row['instruction']!r:.60}: {error}")

    def _bad(self, record: BadRecord) -> str:
        problem = f"{record.where}: {record.why}"
        self.written.bad += 1
        self.written.first_bad = self.written.first_bad or problem
        return json.dumps({"error": problem, "source": self.source})

    def _row(self, pair: ForeignPair) -> dict[str, Any] | BadRecord:
        wrong = [name for name in _TEXTS if not isinstance(getattr(pair, name), str)]
        wrong += [] if isinstance(pair.held_out, bool) else ["held_out"]
        wrong += [] if isinstance(pair.image, str | bytes | Path) and pair.image else ["image"]
        if wrong:
            shown = pair.image if isinstance(pair.image, str) else "with bytes"
            return BadRecord(
                f"image {shown[:80]}", f"{wrong[0]!r} is {getattr(pair, wrong[0])!r:.60}, which it may not be"
            )
        image, instruction = self._image(pair.image), pair.instruction
        row: dict[str, Any] = {"image": image, "instruction": instruction, "source": pair.source or self.source}
        row |= {name: value for name in ("kind", "difficulty", "held_out") if (value := getattr(pair, name))}
        row |= {} if pair.moment is None else _said(asdict(pair.moment))
        row |= {} if pair.targets is None else {"targets": [self._target(target) for target in pair.targets]}
        return row | ({"ignore": [self._target(target) for target in pair.ignore]} if pair.ignore else {})

    def _image(self, image: str | bytes | Path) -> str:
        if isinstance(image, bytes):
            return self._store(image, "images")
        if isinstance(image, str):
            return image
        for real in (os.path.abspath, os.path.realpath):
            reference = os.path.relpath(real(image), real(self.folder))
            if reference.split(os.sep)[0] != os.pardir:
                return Path(reference).as_posix()
        raise ConfigError(
            f"the image '{image}' does not lie below '{self.folder}', the manifest's folder; write the manifest above "
            "the images, or set images to their folder as seen from the image root of 'ivm label'"
        )

    def _target(self, target: Target) -> Target:
        mask = target.get("mask")
        return target | {"mask": self._store(mask, "masks")} if isinstance(mask, bytes) else target

    def _store(self, data: bytes, kind: str) -> str:
        """Write a picture once; a file that a killed run left is replaced by one rename."""
        name = f"{kind}/{hashlib.blake2b(data, digest_size=16).hexdigest()}.{_suffix(data)}"
        if name not in self.written.files:
            self.written.files.add(name)
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            unfinished = path.with_name(path.name + ".part")
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        return name

    def _remember(self, row: dict[str, Any] | None, unite: bool) -> None:
        self.keys.append(0 if row is None else _key(row))
        self.labels.append(UNLABELED if row is None else _label(row))
        self.held_out.append(row is not None and bool(row.get("held_out")))
        self.unites.append(unite and row is not None)

    def _unite(self) -> None:
        """Request the lines with those that unite in the place of their first."""
        key_N, unites_N = np.frombuffer(self.keys, np.uint64).copy(), np.frombuffer(self.unites, np.bool_)
        key_N[~unites_N] = 0
        several, counts = np.unique(key_N[key_N != 0], return_counts=True)
        groups: dict[int, list[int]] = {key: [] for key in several[counts > 1].tolist()}
        if not groups:
            return
        for place in np.flatnonzero(np.isin(key_N, np.array(list(groups), np.uint64))).tolist():
            groups[int(key_N[place])].append(place)
        wanted = {place for places in groups.values() for place in places}
        self.lines.seek(0)
        rows = {place: json.loads(line) for place, line in enumerate(self.lines) if place in wanted}
        gone: set[int] = set()
        for first, *others in groups.values():
            if all(rows[place].get("targets") for place in (first, *others)):
                rows[first] = _united([rows[place] for place in (first, *others)])
                gone.update(others)
        self._rewrite({place: row for place, row in rows.items() if place not in gone}, gone)

    def _rewrite(self, rows: dict[int, dict[str, Any]], gone: set[int]) -> None:
        with TemporaryFile("w+", encoding="utf-8") as kept:
            self.lines.seek(0)
            for place, line in enumerate(self.lines):
                if place in rows:
                    kept.write(json.dumps(rows[place]) + "\n")
                elif place not in gone:
                    kept.write(line)
            kept.seek(0)
            self.lines.seek(0)
            self.lines.truncate()
            shutil.copyfileobj(kept, self.lines)
        for place, row in rows.items():
            self.labels[place], self.held_out[place] = _label(row), bool(row.get("held_out"))
        for place in gone:
            self.keys[place], self.labels[place], self.held_out[place] = 0, UNLABELED, False
        self.written.united = len(gone)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """Without those that say nothing."""
    return {name: value for name, value in values.items() if value not in (None, "")}


def _united(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One row with every target and every ignored region once; held out where one of them is."""
    united = dict(rows[0])
    for name in ("targets", "ignore"):
        every = {json.dumps(one, sort_keys=True): one for row in rows for one in row.get(name) or ()}
        if every:
            united[name] = list(every.values())
    return united | ({"held_out": True} if any(row.get("held_out") for row in rows) else {})


def _key(row: dict[str, Any]) -> int:
    return short_hash(pair_key(row["image"], tidy_instruction(row["instruction"])))


def _label(row: dict[str, Any]) -> int:
    return label_hash(row.get("targets"), None, row.get("ignore"))


def _suffix(data: bytes) -> str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return (image.format or "bin").lower()
    except Exception:  # Pillow's decoders raise nearly every type; the picture is refused when it is labeled
        return "npy" if data.startswith(b"\x93NUMPY") else "bin"
