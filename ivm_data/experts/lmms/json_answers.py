"""JSON as LLMs write it: in a fence, between sentences, after thoughts, with a comma too many, or cut.

What stands there is read, nothing is made up: an entry counts once it is whole, and a list that is not says so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 100_000
"""Of an answer that is read at all."""
_MAX_STARTS = 100
"""Brackets at which a value is looked for."""
_DECODER = json.JSONDecoder(strict=False)
"""A line break within a string is read as one."""
_OPEN = re.compile(r"[\[{]")
_LIKE_JSON = re.compile(r'\[\s*[\[{"]|\{\s*"')
"""What no sentence has in brackets."""
_SPACE = re.compile(r"\s*")
_STRING_OR_COMMA_TOO_MANY = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])')


@dataclass(frozen=True)
class JsonValue:
    """A list or an object of an answer.

    Attributes:
        value: of a list that is not whole, those of its entries that are.
        whole: False where the answer ends, or is no JSON any more, within the list.
    """

    value: list[Any] | dict[str, Any]
    whole: bool = True


def read_json(answer: str) -> list[JsonValue]:
    """The lists and objects of an answer in its order, whatever stands around them; none where there are none.

    What a model thought before it answered, up to `</think>`, is no part of the answer.
    """
    text = without_thoughts(answer.strip())
    if len(text) > MAX_CHARACTERS:
        return []
    found: list[JsonValue] = []
    for _ in range(_MAX_STARTS):
        opened = _OPEN.search(text)
        if opened is None:
            break
        text = text[opened.start() :]
        value, end = _decoded(text, 0)
        if not end:
            text = _STRING_OR_COMMA_TOO_MANY.sub(lambda match: match[1] or "", text)
            value, end = _decoded(text, 0)
        if end:
            found.append(JsonValue(value))
        elif entries := _whole_entries(text):
            return [*found, JsonValue(entries, whole=False)]
        elif _LIKE_JSON.match(text):
            break  # What follows is part of a value that is cut.
        text = text[end or 1 :]
    return found


def without_thoughts(text: str) -> str:
    """What follows `</think>`; nothing where a thought does not end. Some chat templates open the first thought."""
    if text.startswith(("[", "{", "```")):
        return text
    text = text.rpartition("</think>")[2].lstrip()
    return "" if text.startswith("<think>") else text


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends; 0 where none does."""
    try:
        return _DECODER.raw_decode(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError):  # json gives up with the latter on deeply nested lists
        return None, 0


def _whole_entries(text: str) -> list[Any]:
    """The first entries of a list that is not whole, up to the first that is not: objects, lists and strings.

    A number may itself be cut, so none is taken.
    """
    entries: list[Any] = []
    at, separator = 0, "["
    while text[at : at + 1] == separator:
        value, end = _decoded(text, at + 1)
        if not end or not isinstance(value, dict | list | str):
            break
        entries.append(value)
        at, separator = _SPACE.match(text, end).end(), ","  # type: ignore[union-attr]
    return entries
