"""What a command may write over: nothing, or what it wrote itself. Everything else is refused before any work.

A folder is taken if it is new, empty, or known to be the command's own with nothing added; a file if it is new or the
command's own. Neither may be a data set, lie in its folders or around it: of a data set only `checkpoints/` is for
outputs, and files right beside its folders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.disk.publish import write_text
from storage.errors import ConfigError
from storage.parts import layout

MARKER = ".ivm-output.json"
"""In a folder: which command wrote it."""

CHECKPOINTS = "checkpoints"
"""The folder of a data set that holds outputs."""

_OF_FILES = {".csv", ".html", ".jpeg", ".jpg", ".json", ".jsonl", ".md", ".parquet", ".pdf", ".png", ".svg", ".tsv"}
"""Endings of files that are read or written here; a folder may have any other, as `run.2` has."""

_OF_A_DATA_SET = {
    *("labels", *layout.KINDS[2:], "answers", "gates", "manifests", "recipes", "snapshots", "trainings", ".compacting")
}


@dataclass(frozen=True)
class Output:
    """What a command writes under one path.

    Attributes:
        what: in words, with the command: "a report of 'ivm report'".
        is_ours: whether an existing file, or a folder that is not empty, is one; None where its contents do not
            show it, so that none is ever replaced.
        folder: it is a folder.
        endings: of a file's name; empty where any will do.
    """

    what: str
    is_ours: Callable[[Path], bool] | None
    folder: bool = False
    endings: tuple[str, ...] = ()


def check(output: Output, out: Path, data: Path | None = None, inputs: Iterable[Path] = ()) -> None:
    """Refuse a path that the command must not write.

    Args:
        data: the data set that is read.
        inputs: other files and folders that are read.

    Raises:
        ConfigError: with what is in the way.
    """
    _check_kind(output, out)
    if data is not None:
        _check_apart(output, out, data)
    if out.resolve() in {path.resolve() for path in inputs}:
        raise ConfigError(f"'{out}' is what is read; give another path")
    if _is_taken(output, out):
        why = f"is not {output.what}"
        if output.is_ours is None:
            why = f"may be your own work, as {output.what} does not show its writer"
        raise ConfigError(f"'{out}' is there and {why}, so it is left as it is; give another path, or move it away")


def mark(folder: Path, command: str) -> None:
    """Let a folder be known as one that the command writes into."""
    write_text(folder / MARKER, json.dumps({"made_by": command}) + "\n")


def is_marked(folder: Path, command: str) -> bool:
    """Whether `mark` marked it."""
    return read_json(folder / MARKER).get("made_by") == command


def read_json(path: Path) -> dict[str, object]:
    """A file's JSON object; empty where it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def has_mark(path: Path, *marks: str) -> bool:
    """Whether one of the marks is in the first or the last 64 kB of a file."""
    try:
        with path.open("rb") as file:
            ends = file.read(1 << 16)
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            ends += file.read()
    except OSError:
        return False
    return any(one.encode() in ends for one in marks)


def _is_taken(output: Output, out: Path) -> bool:
    if out.is_dir():
        return any(out.iterdir()) and not (output.is_ours and output.is_ours(out))
    return out.is_file() and not (output.is_ours and output.is_ours(out))


def _check_kind(output: Output, out: Path) -> None:
    if output.folder and out.is_file():
        raise ConfigError(f"'{out}' is a file; {output.what} is a folder, so give the path of one")
    if not output.folder and out.is_dir():
        raise ConfigError(f"'{out}' is a folder; {output.what} is a file, so give the path of one in it")
    _check_ending(output, out)
    if file := next((folder for folder in out.parents if folder.is_file()), None):
        raise ConfigError(f"'{file}' is a file, so nothing can lie in it; give another path than '{out}'")


def _check_ending(output: Output, out: Path) -> None:
    """A folder is not called like a file, and a file as its kind is; a device such as /dev/stdout has no kind."""
    ending = out.suffix.lower()
    if output.folder and ending in _OF_FILES:
        raise ConfigError(f"'{out}' is called like a file; {output.what} is a folder, so leave out the '{out.suffix}'")
    if output.endings and ending not in output.endings and not (out.exists() and not out.is_file()):
        endings = " or ".join(map(repr, output.endings))
        raise ConfigError(
            f"'{out}' does not end in {endings}, as {output.what} does; give '{out.stem}{output.endings[0]}'"
        )


def _check_apart(output: Output, out: Path, data: Path) -> None:
    shown, out, data = out, out.resolve(), data.resolve()
    if out == data or out in data.parents:
        raise ConfigError(f"'{shown}' is or holds the data set that is read; give a path beside it")
    if data not in out.parents:
        return
    first, *below = out.relative_to(data).parts
    if output.folder and not (first == CHECKPOINTS and below):
        place = data / CHECKPOINTS / "NAME"
        raise ConfigError(f"'{out}' lies in the data set '{data}'; give a folder beside it, or '{place}'")
    if first in _OF_A_DATA_SET:
        raise ConfigError(f"'{out}' lies among the data set's own files in '{data / first}'; give a path outside")
