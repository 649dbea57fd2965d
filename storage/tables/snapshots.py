"""Snapshots: a frozen list of what a data set held, by the hashes of its rows, so that a compaction does not change it.

DATA/snapshots/<name>.json lists every part of labels and every fact (weights, reviews, decisions) with its content
hash, and the gate that decides about each recipe's labels. The name is the hash of that list: equal data, equal name,
on any machine. `DataSet.freeze` makes one, `DataSet.open(data, snapshot=name)` reads with one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from storage.errors import ConfigError, ShardError
from storage.parts import layout
from storage.parts.files import alone_in, replace
from storage.parts.row_hashes import combine

FACTS = ("weights", "reviews", "decisions")
"""Kinds of facts that a snapshot lists beside the labels."""

GATES = "gates"
"""Kind of an entry that binds a gate; a snapshot without one means the decisions that labeling wrote."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One part of labels or facts.

    Attributes:
        kind: "labels", one of `FACTS`, or `GATES`; then part and content are the gate's hash.
        owner: the recipe, discriminator, reviewer or rule.
        content: hash of its rows.
    """

    kind: str
    owner: str
    part: str
    content: str
    rows: int


@dataclass(frozen=True)
class Snapshot:
    """What a data set held at a moment.

    Attributes:
        entries: sorted.
        created_at: UTC time, ISO 8601; no part of the name.
    """

    entries: tuple[Entry, ...]
    created_at: str = ""

    @cached_property
    def name(self) -> str:
        """16 hex digits over all entries: what a checkpoint records as the data that it was trained on."""
        return combine(tuple(map(str, astuple(entry))) for entry in self.entries)[:16]

    def parts(self, recipe: str) -> Set[str]:
        """The parts of a recipe's labels."""
        return self._parts.get(recipe, {}).keys()

    @cached_property
    def _parts(self) -> dict[str, dict[str, None]]:
        found: dict[str, dict[str, None]] = {}
        for entry in self.entries:
            if entry.kind == "labels":
                found.setdefault(entry.owner, {})[entry.part] = None
        return found

    @property
    def gates(self) -> dict[str, str]:
        """Recipe -> hash of the gate that decides about its labels."""
        return {entry.owner: entry.content for entry in self.entries if entry.kind == GATES}

    def rows(self, kind: str) -> int:
        """Rows of a kind."""
        return sum(entry.rows for entry in self.entries if entry.kind == kind)


@dataclass(frozen=True)
class Difference:
    """Entries that only one of two snapshots has; a part with other contents is in both lists."""

    removed: tuple[Entry, ...]
    added: tuple[Entry, ...]


def of(files: layout.DataFiles, gates: Mapping[str, str]) -> Snapshot:
    """What the files of a data set hold now, from their footers, and its current gates; nothing is written.

    Args:
        gates: recipe -> hash of its current gate.
    """
    bound = [Entry(GATES, recipe, gate, gate, 1) for recipe, gate in gates.items()]
    return Snapshot(tuple(sorted([*entries(files), *bound])), datetime.now(UTC).isoformat(timespec="seconds"))


def write(data: Path, snapshot: Snapshot) -> Snapshot:
    """Keep a snapshot under its name; one that is there already stays, and is given back."""
    path = data / "snapshots" / f"{snapshot.name}.json"
    with alone_in(path.parent):
        if path.exists():
            return load(data, snapshot.name)
        text = json.dumps(
            {"created_at": snapshot.created_at, "entries": [asdict(e) for e in snapshot.entries]}, indent=1
        )
        replace(path, lambda hidden: hidden.write_text(text + "\n", encoding="utf-8"))
    return snapshot


def names(data: Path) -> list[str]:
    """The snapshots of a data set, oldest first."""
    found = [path.stem for path in (data / "snapshots").glob("*.json")]
    return sorted(found, key=lambda name: (load(data, name).created_at, name))


def load(data: Path, name: str) -> Snapshot:
    """A snapshot by its name, or by the first digits of it.

    Raises:
        ConfigError: none or several snapshots have this name.
        ShardError: its file is torn or was changed.
    """
    paths = sorted((data / "snapshots").glob("*.json"))
    fitting = [path for path in paths if name and path.stem.startswith(name)]
    if len(fitting) != 1:
        known = ", ".join(path.stem for path in paths) or "none; make one with 'ivm snapshot create'"
        raise ConfigError(f"{len(fitting)} snapshots of '{data}' are named {name!r}; there are: {known}")
    try:
        raw = json.loads(fitting[0].read_text(encoding="utf-8"))
        snapshot = Snapshot(tuple(Entry(**entry) for entry in raw["entries"]), raw["created_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardError(f"snapshot '{fitting[0]}' is torn or no snapshot ({type(error).__name__}: {error})") from error
    if snapshot.name != fitting[0].stem:
        raise ShardError(f"snapshot '{fitting[0]}' was changed: its entries hash to {snapshot.name}")
    return snapshot


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What changed from one snapshot to another."""
    old, new = set(before.entries), set(after.entries)
    return Difference(tuple(sorted(old - new)), tuple(sorted(new - old)))


def listed(files: layout.DataFiles, snapshot: Snapshot) -> dict[str, list[Path]]:
    """By kind, the files that hold what the snapshot lists. A file of labels may hold other parts as well.

    Raises:
        ShardError: something that the snapshot lists is not there any more.
    """
    there = {(entry.kind, entry.owner, entry.part, entry.content) for entry in entries(files)}
    if gone := [e for e in snapshot.entries if e.kind != GATES and (e.kind, e.owner, e.part, e.content) not in there]:
        named = ", ".join(f"{entry.kind}/{entry.owner}/{entry.part}" for entry in gone[:5])
        raise ShardError(
            f"snapshot {snapshot.name} lists {len(gone)} parts that are gone or have other contents: {named}; "
            "'ivm snapshot verify' names all"
        )
    names = {(entry.kind, entry.owner, entry.part) for entry in snapshot.entries}
    kept = {
        kind: [
            path
            for path in files.by_kind[kind]
            if any((folder, path.parent.name, part.name) in names for part in files.parts[path])
        ]
        for kind, folder in (("light", "labels"), *((fact, fact) for fact in FACTS))
    }
    return files.by_kind | kept | {"heavy": [layout.heavy_path(path) for path in kept["light"]]}


def entries(files: layout.DataFiles) -> Iterator[Entry]:
    """What the files of a data set hold, from their footers."""
    for kind in ("light", *FACTS):
        for path in files.by_kind[kind]:
            for part in files.parts[path]:
                yield Entry("labels" if kind == "light" else kind, path.parent.name, part.name, part.content, part.rows)
