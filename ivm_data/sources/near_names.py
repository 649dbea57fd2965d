"""Names of files that are written another way than the file system, or an archive, writes them.

Backslashes, percent signs of URLs and Unicode's composed or decomposed letters are spellings of one name: such a file
is taken, if there is none of the very name. Letter case is not: on most systems A.jpg and a.jpg are two files. A name
that differs by it is refused, and the near one named.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote

from storage.errors import InputError

MOST_ENTRIES = 200_000
"""Entries of a folder that are looked at for a near name."""


def spellings(name: str) -> Iterator[str]:
    """Other spellings of a name, the likeliest first; never the name itself."""
    seen = {name}
    for slashes in (name, name.replace("\\", "/")):
        for decoded in (slashes, unquote(slashes, errors="strict") if _is_quoted(slashes) else slashes):
            for form in (decoded, *(unicodedata.normalize(form, decoded) for form in ("NFC", "NFD"))):
                if form not in seen:
                    seen.add(form)
                    yield form


def folded(name: str) -> str:
    """Equal for names that differ by spelling or letter case."""
    decoded = unquote(name, errors="replace") if "%" in name else name
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", decoded.replace("\\", "/")).casefold())


def near_path(root: Path, reference: str) -> str:
    """A path below the root that differs from the reference by spelling or letter case; "" where there is none."""
    path, taken = root, []
    for part in [part for part in folded(reference).split("/") if part not in ("", ".")]:
        near = _entries(path, _changed(path)).get(part)
        if near is None or part == "..":
            return ""
        taken.append(near)
        path = path / near
    return "/".join(taken) if taken and path.is_file() else ""


class Names:
    """The names in an archive."""

    def __init__(self, archive: str, names: Collection[str]) -> None:
        self.archive, self.names = archive, names

    def find(self, name: str) -> str:
        """The name as the archive has it.

        Raises:
            InputError: `image_missing`.
        """
        if name in self.names:
            return name
        found = next((spelling for spelling in spellings(name) if spelling in self.names), None)
        if found is None:
            near = self._folded.get(folded(name))
            hint = f"; '{near}' is there" if near else ""
            raise InputError("image_missing", f"'{name[:200]}' is not in '{self.archive}'{hint}")
        return found

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {folded(name): name for name in self.names}


def _is_quoted(name: str) -> bool:
    try:
        return unquote(name, errors="strict") != name
    except UnicodeDecodeError:
        return False


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)
def _entries(folder: Path, changed: int) -> dict[str, str]:
    """Names of a folder by what is equal for near ones; `changed` makes a folder that was written to another one."""
    found: dict[str, str] = {}
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number == MOST_ENTRIES:
                    break
                found.setdefault(folded(entry.name), entry.name)
    except OSError:
        return {}
    return found
