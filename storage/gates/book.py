"""The gates of a data set, and which one is current: both are appended, and undoing is one more entry.

DATA/gates/<recipe>/<hash>.json                  a gate, whole; never rewritten
DATA/gates/<recipe>/log/<moment>-<hash>.json     it was applied, or what was applied before it came back

`Book.read` reads the log once; which gate a reader sees is settled then.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from storage.errors import ConfigError, ShardError
from storage.gates.gate import Gate
from storage.parts import layout
from storage.parts.files import alone_in, replace

WRITTEN = "written"
"""Name of the decision that labeling itself wrote."""

_HINT = "see: ivm gate --data"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log.

    Attributes:
        gate: hash of the gate that this made current; "" for what labeling wrote.
        act: "apply", or "undo" where an earlier state came back.
        name: what people call the gate, or "".
        who: who did it.
        at: UTC time, ISO 8601 with microseconds.
    """

    recipe: str
    gate: str
    act: Literal["apply", "undo"]
    name: str
    who: str
    at: str = ""


@dataclass(frozen=True)
class Book:
    """The logs of a data set's gates as they were when it was opened, oldest entry first."""

    data: Path
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, data: Path) -> Book:
        """Read the logs.

        Raises:
            ShardError: an entry is torn.
        """
        paths = sorted((data / "gates").glob("*/log/*.json"), key=lambda path: (path.parent.parent.name, path.name))
        return cls(data, tuple(_entry(path) for path in paths))

    @cached_property
    def current(self) -> dict[str, str]:
        """Recipe -> hash of its current gate, where it is not what labeling wrote."""
        latest = {entry.recipe: entry.gate for entry in self.entries}
        return {recipe: gate for recipe, gate in latest.items() if gate}

    def before(self, recipe: str) -> tuple[str, str] | None:
        """(hash, name) of what was current before the gate that is; None where nothing was ever applied to undo."""
        stack: list[tuple[str, str]] = [("", WRITTEN)]
        for entry in self.entries:
            if entry.recipe == recipe and entry.act == "undo":
                stack = stack[:-1] or [("", WRITTEN)]
            elif entry.recipe == recipe:
                stack.append((entry.gate, entry.name))
        return stack[-2] if len(stack) > 1 else None

    def load(self, recipe: str, gate: str) -> Gate:
        """A gate by its hash.

        Raises:
            ShardError: its file is gone, torn or was changed.
        """
        return load(self.data, recipe, gate)

    def named(self, name: str, recipe: str = "") -> dict[str, Gate]:
        """Recipe -> the gate of that name, the latest one, or whose hash starts so.

        Raises:
            ConfigError: there is none, with those that there are.
        """
        known = {path.stem: path.parent.name for path in sorted((self.data / "gates").glob("*/*.json"))}
        found = {entry.recipe: entry.gate for entry in self.entries if entry.name == name and entry.gate}
        if not found:
            fitting = [gate for gate in known if gate.startswith(name)]
            found = {known[gate]: gate for gate in fitting} if len(fitting) == 1 else {}
        chosen = {of: gate for of, gate in found.items() if recipe in ("", of)}
        if not chosen:
            names = sorted({entry.name for entry in self.entries if entry.name} | set(known))
            raise ConfigError(
                f"no gate {name!r} in '{self.data}'; there are: {', '.join([WRITTEN, *names])}; {_HINT} {self.data}"
            )
        return {of: self.load(of, gate) for of, gate in chosen.items()}


def keep(data: Path, gate: Gate) -> Path:
    """Write a gate under its hash; one that is there already stays."""
    path = _path(data, gate.recipe, gate.hash)
    with alone_in(path.parent):
        if not path.exists():
            text = json.dumps(gate.to_dict(), indent=1, ensure_ascii=False) + "\n"
            replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
    return path


def apply(data: Path, gate: Gate, *, name: str = "", who: str) -> Entry:
    """Make a gate current: first its file, then the entry."""
    if name:
        layout.name(name)
    with _alone(data, gate.recipe):
        keep(data, gate)
        return _append(data, Entry(gate.recipe, gate.hash, "apply", name, who))


def undo(data: Path, recipe: str, *, who: str) -> Entry:
    """Make current what was so before.

    Raises:
        ConfigError: nothing was applied.
    """
    with _alone(data, recipe):
        before = Book.read(data).before(recipe)
        if before is None:
            raise ConfigError(f"recipe {recipe} of '{data}' has no gate to undo: its labels are as labeling wrote them")
        gate, name = before
        if gate:
            load(data, recipe, gate)
        return _append(data, Entry(recipe, gate, "undo", "" if name == WRITTEN else name, who))


def load(data: Path, recipe: str, gate: str) -> Gate:
    """See `Book.load`."""
    path = _path(data, recipe, gate)
    hint = f"fetch it again, or go back with: ivm gate --data {data} --undo"
    try:
        found = Gate.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ShardError(f"gate '{path}' is gone; {hint}") from error
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ShardError(f"gate '{path}' is torn or no gate ({type(error).__name__}: {error}); {hint}") from error
    if (found.recipe, found.hash) != (recipe, gate):
        raise ShardError(f"gate '{path}' was changed: it hashes to {found.hash}; {hint}")
    return found


def _alone(data: Path, recipe: str) -> AbstractContextManager[None]:
    return alone_in(data / "gates" / layout.name(recipe) / ".lock")


def _append(data: Path, entry: Entry) -> Entry:
    """Write an entry with a moment that is later than all of the recipe before; call it under its lock."""
    folder = data / "gates" / entry.recipe / "log"
    with alone_in(folder):
        entry = dataclasses.replace(entry, at=_next_moment(folder))
        path = folder / f"{entry.at.replace(':', '-')}-{entry.gate or WRITTEN}.json"
        text = json.dumps(asdict(entry), indent=1, ensure_ascii=False) + "\n"
        replace(path, lambda hidden: hidden.write_text(text, encoding="utf-8"))
    return entry


def _next_moment(folder: Path) -> str:
    """Now, or just after the latest entry where this clock is behind the writer's."""
    times = [_entry(path).at for path in folder.glob("*.json")]
    now = datetime.now(UTC)
    after = [datetime.fromisoformat(max(times)) + timedelta(microseconds=1)] if times else []
    return max([now, *after]).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _entry(path: Path) -> Entry:
    try:
        raw: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return Entry(**raw)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError) as error:
        raise ShardError(
            f"'{path}' is torn or no entry of a gate's log ({error}); move it away: what was applied before it counts"
        ) from error


def _path(data: Path, recipe: str, gate: str) -> Path:
    return data / "gates" / layout.name(recipe) / f"{layout.name(gate)}.json"
