"""SQL that lies in `.sql` files of a package: a header of comments, then one statement.

-- One line of description, by {column}.
-- for acceptance_by_kind: {column} = kind        one statement for each such line, of that name
-- for acceptance_by_source: {column} = source
-- {only} = AND area > 0                          what a word stands for, also within the files that are put in
SELECT {column}, count(*) FROM outcomes WHERE true {only} GROUP BY {column}

`{near}` puts in the file `_near.sql` of the same folder. The caller reads the other lines of the header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_WORD = re.compile(r"\{(\w+)\}")
_MEANS = re.compile(r"^-- \{(\w+)\} = ?(.*)\n", re.MULTILINE)
_FOR = re.compile(r"^-- for (\w+): (.+)\n", re.MULTILINE)


@cache
def load(package: str, folder: str) -> Mapping[str, str]:
    """Name -> header and statement, of every file in a folder of a package, in alphabetic order."""
    texts = {
        item.name.removesuffix(".sql"): item.read_text(encoding="utf-8")
        for item in (files(package) / folder).iterdir()
        if item.name.endswith(".sql")
    }
    parts = {name.removeprefix("_"): text.rstrip() for name, text in texts.items() if name.startswith("_")}
    whole: dict[str, str] = {}
    for name, text in texts.items():
        if not name.startswith("_"):
            whole |= _statements(name, text, parts)
    return dict(sorted(whole.items()))


def fill(text: str, words: Mapping[str, str]) -> str:
    """Put in what `{word}` stands for; what is not among the words stays."""
    return _WORD.sub(lambda found: words.get(found[1], found[0]), text)


def description(text: str) -> str:
    """The first line of a header."""
    return text.partition("\n")[0].removeprefix("-- ")


def _statements(name: str, text: str, parts: Mapping[str, str]) -> dict[str, str]:
    """By name, what a file says: one statement, or one for each `for` line."""
    words = dict(_MEANS.findall(text))
    variants = {
        of: dict(pair.split("} = ", 1) for pair in listed[1:].split("; {")) for of, listed in _FOR.findall(text)
    }
    body = fill(_FOR.sub("", _MEANS.sub("", text)), parts)
    return {variant: fill(body, words | own) for variant, own in (variants or {name: {}}).items()}
