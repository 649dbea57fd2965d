"""The first line of a manifest that is a table: what separates its columns, and which of them is what.

A column that is called as a key of the manifest is that key. Where none is called `image` or `instruction`, the one
column is taken whose name is another word for it; of several such columns none is taken.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import ConfigError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may lie between columns, in words; the first one counts where the line does not tell."""

NEEDED = ("image", "instruction")
OTHER_WORDS = {
    "image": "images img picture photo file filename filepath path imagefile imagefilename imagename imagepath "
    "imageuri imageurl imgfile imgname imgpath imgurl uri url",
    "instruction": "instructions prompt text query question caption phrase expression referringexpression sentence "
    "request",
}
"""Names for a column that is needed, in small letters and digits alone."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        names: as its first line calls them.
        keys: what they are in a manifest's record: the same names, but for those that were guessed.
        separator: one of `SEPARATORS`.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    separator: str

    @property
    def guesses(self) -> str:
        """What was guessed of the table, in words; "" where nothing was."""
        renamed = zip(self.names, self.keys, strict=True)
        said = [f"column {name!r} is taken as the {key}" for name, key in renamed if name != key]
        said += [f"columns are separated by {SEPARATORS[self.separator]}"] if self.separator != "," else []
        return ", ".join(said)


def read_columns(line: str) -> Columns:
    """The columns that a table's first line names.

    Raises:
        ConfigError: several columns may be the image, or the instruction.
        csv.Error: the line is no CSV.
    """
    split = {separator: _names(line, separator) for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda separator: (_recognized(split[separator]), len(split[separator])))
    names = split[separator]
    return Columns(tuple(names), tuple(_keys(names)), separator)


def _names(line: str, separator: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]


def _recognized(names: Sequence[str]) -> int:
    """How many of the needed columns there may be."""
    return sum(key in names or bool(_others(key, names)) for key in NEEDED)


def _keys(names: Sequence[str]) -> list[str]:
    keys = list(names)
    for key in NEEDED:
        others = [] if key in names else _others(key, names)
        if len(others) > 1:
            listed = " and ".join(repr(names[place]) for place in others)
            raise ConfigError(f"{listed} may all be the {key}; call that one {key!r}")
        for place in others:
            keys[place] = key
    return keys


def _others(key: str, names: Sequence[str]) -> list[int]:
    """The places of names that are other words for a key."""
    known = {key, *OTHER_WORDS[key].split()}
    return [place for place, name in enumerate(names) if re.sub(r"[\W_]", "", name.lower()) in known]
