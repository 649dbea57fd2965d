"""JSON files that are too large for memory, a record at a time.

What the owners publish is one list of records, or one object whose members are lists of records, records, or small
values. `stream` gives the records in file order and says where each lies, so that it can be read again later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from storage.errors import ConfigError

CHUNK = 1 << 20
MAX_RECORD = 1 << 26
"""Characters that one record may have."""

_MARK = "\ufeff"
"""The byte order mark that some editors put before UTF-8."""
_BLANK = re.compile(r"[ \t\r\n]*")
_DELIMITERS = set(",:]} \t\r\n")
_decode = json.JSONDecoder().raw_decode


class Node(NamedTuple):
    """A record: the key of the member that it is or belongs to ("" in a list), its bytes in the file, its value."""

    key: str
    start: int
    stop: int
    value: Any


def stream(path: Path) -> Iterator[Node]:
    """The records of a JSON file: a list's elements, an object's members, and the elements of members that are lists.

    Memory is that of the longest record.

    Raises:
        ConfigError: the file is not there or is not such JSON; what came before was given already.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            cursor = _Cursor(file)
            if cursor.peek() == _MARK:
                cursor.skip_mark()
            if cursor.peek() == "[":
                yield from _elements(cursor, "")
            else:
                yield from _members(cursor)
            if extra := cursor.peek():
                raise ValueError(f"expected the end at byte {cursor.offset}, got {extra!r}")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' cannot be read as JSON: {error}; get the file again from its owner") from error


def read_at(file: BinaryIO, start: int, stop: int) -> Any:
    """The value whose bytes `stream` gave as `start` and `stop`."""
    file.seek(start)
    return json.loads(file.read(stop - start))


def _members(cursor: _Cursor) -> Iterator[Node]:
    cursor.take("{")
    while cursor.peek() != "}":
        key = cursor.value("").value
        cursor.take(":")
        if cursor.peek() == "[":
            yield from _elements(cursor, key)
        else:
            yield cursor.value(key)
        if cursor.peek() != "}":
            cursor.take(",")
    cursor.take("}")


def _elements(cursor: _Cursor, key: str) -> Iterator[Node]:
    cursor.take("[")
    while cursor.peek() != "]":
        yield cursor.value(key)
        if cursor.peek() != "]":
            cursor.take(",")
    cursor.take("]")


class _Cursor:
    """A place in a text file: character `at` of the buffer `text`, byte `offset` of the file."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.offset, self.ended = file, "", 0, 0, False

    def peek(self) -> str:
        """The next character that is no blank; "" at the end of the file."""
        while True:
            blank = _BLANK.match(self.text, self.at)
            assert blank is not None
            self._advance(blank.end())
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._more()

    def skip_mark(self) -> None:
        """Go on behind the byte order mark that is next."""
        self._advance(self.at + 1)

    def take(self, character: str) -> None:
        if (seen := self.peek()) != character:
            raise ValueError(f"expected {character!r} at byte {self.offset}, got {seen or 'the end'!r}")
        self._advance(self.at + 1)

    def value(self, key: str) -> Node:
        """Decode the next value. What the buffer cuts off is read on: "1" may be the beginning of "1.5"."""
        self.peek()
        while True:
            fault = "Expecting a delimiter"
            try:
                value, stop = _decode(self.text, self.at)
            except json.JSONDecodeError as error:
                fault = error.msg
            else:
                if self.ended or self.text[stop : stop + 1] in _DELIMITERS:
                    start = self.offset
                    self._advance(stop)
                    return Node(key, start, self.offset, value)
            if self.ended or len(self.text) - self.at > MAX_RECORD:
                raise ValueError(f"{fault} in the record at byte {self.offset}")
            self._more()

    def _more(self) -> None:
        """Drop what was taken, and read as much again as is left, but at least a chunk."""
        self.text, self.at = self.text[self.at :], 0
        read = self.file.read(max(CHUNK, len(self.text)))
        self.text, self.ended = self.text + read, not read

    def _advance(self, to: int) -> None:
        taken = self.text[self.at : to]
        self.at, self.offset = to, self.offset + (len(taken) if taken.isascii() else len(taken.encode()))
