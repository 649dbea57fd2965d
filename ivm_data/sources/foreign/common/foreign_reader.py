"""What a reader of a foreign data set is.

A reader is one file in this package and one line in `readers.READERS`:

    @dataclass(frozen=True)
    class VsrConfig:
        captions: str      # required fields first: the owner's files, as paths of this machine
        images: str = ""   # folder of the image files, relative to the image root of `ivm label`

    def read_vsr(config: VsrConfig) -> Iterator[Record]:
        \"""VSR: a true caption is the instruction; nothing is labeled.

        Reads: train.jsonl, dev.jsonl, test.jsonl
        \"""

The docstring is what `ivm import` shows: one line that says what becomes what, and the owner's files.

Fields are str, int, float or bool, so that `--set field=value` can give them; each is described in the config's
docstring. The generator reads the owner's files as published, in one pass, and holds no more of them than their format
forces it to (`json_stream` streams JSON and remembers where records lie). A wrong config or a file that is not there or
is no such format at all raises ConfigError; a single record that cannot be used is yielded as `BadRecord`, which
`checked` does for whatever is raised. The order of pairs follows from the files alone.

A record that asks for nothing (a caption that its owner marks as false, a phrase that is "not visual") yields nothing:
it is not bad. A mark that is no target (a point, a line) is yielded as `LeftOut` and counted. What was not recognised
is never taken for "nothing is there": `targets=()` is for records that say so. Heavy imports belong inside functions:
`ivm import` imports every reader to list it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import ConfigError, InputError
from storage.records import Moment

Target = dict[str, Any]
"""A target as the manifest writes it, see `ivm_data.sources.human_mask`; its `mask` may also be a picture's bytes."""


@dataclass(frozen=True)
class ForeignPair:
    """One line of the manifest.

    Attributes:
        image: path relative to the image root; a `Path` of this machine, which the manifest must lie above; or the
            encoded file's bytes, which are stored beside the manifest.
        targets: what a person marked; () says that the thing asked for is not in the image, None that nobody looked.
        source: the data set, where the record names its own.
        ignore: pixels that count for nobody when a mask is scored, as targets.
        moment: where in an episode the image lies; None for a still.
        unite: the instruction means everything that is so called, and these targets may be only some of it: pairs of
            one image and instruction become one with the targets of all.
    """

    image: str | bytes | Path
    instruction: str
    kind: str = ""
    difficulty: str = ""
    held_out: bool = False
    targets: tuple[Target, ...] | None = None
    source: str = ""
    ignore: tuple[Target, ...] = ()
    unite: bool = False
    moment: Moment | None = None


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used; `ivm label` makes it a rejection `bad_source_record`.

    Attributes:
        where: the file and the place in it, without a path of this machine.
        why: what was seen.
    """

    where: str
    why: str


@dataclass(frozen=True)
class LeftOut:
    """A mark that is read and is no target, such as a point; counted by its kind."""

    kind: str


Record = ForeignPair | BadRecord | LeftOut


def checked(where: str, make: Callable[..., Iterable[Record]], *arguments: Any) -> Iterator[Record]:
    """What `make(*arguments)` makes of one record, all or none: a wrong field makes one `BadRecord`."""
    try:
        made = list(make(*arguments))
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # foreign values raise nearly every type; each is that record's alone
        yield BadRecord(where, reason(error))
    else:
        yield from made


def reason(error: Exception) -> str:
    """What an error says of a foreign record, in words for a person."""
    if isinstance(error, KeyError):
        text = f"{error.args[0]!r} is missing" if error.args else "a key is missing"
    elif isinstance(error, InputError):
        text = error.detail
    elif isinstance(error, RecursionError):
        text = "it is nested too deep"
    elif isinstance(error, TypeError | AttributeError | IndexError | OverflowError | AssertionError):
        text = f"it is not of the form that is expected ({type(error).__name__}: {error})"
    elif isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return text[:300]


def box_target(x: float, y: float, width: float, height: float) -> Target:
    """A target from a box in XYWH pixels.

    Raises:
        ValueError: it covers nothing.
    """
    x, y, width, height = (number(value) for value in (x, y, width, height))
    if not (width > 0 and height > 0):
        raise ValueError(f"a box of width {width} and height {height} covers nothing")
    return {"box": [x, y, x + width, y + height]}


def number(value: Any) -> float:
    """A number as JSON has it; text and booleans are none.

    Raises:
        ValueError: another value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is needed, got {value!r:.60}")
    return value


def numbers(values: list[Any]) -> list[float]:
    """Numbers as JSON has them.

    Raises:
        ValueError: another value among them.
    """
    return values if {*map(type, values)} <= {int, float} else [number(value) for value in values]


def existing(path: str, field: str, folder: bool = False) -> Path:
    """The file, or the folder, that a config's field names.

    Raises:
        ConfigError: it is not there.
    """
    try:
        found = Path(path).is_dir() if folder else Path(path).is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        found = False
    if not found:
        what = "folder" if folder else "file"
        raise ConfigError(f"'{path[:200]}' is not there; set {field} to the {what} as its owner publishes it")
    return Path(path)


def load_json(path: Path) -> Any:
    """The value of a small JSON file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no JSON in UTF-8: {error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
