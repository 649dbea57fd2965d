"""Instructions that an LLM wrote for a phrase: a JSON list of strings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from ivm_data.experts.lmms.json_answers import read_json


def read_instructions(
    answer: str | None, phrase: str, count: int, max_characters: int
) -> tuple[list[str], Counter[str]]:
    """The usable instructions of an answer, in its order, at most `count`, and why others were dropped.

    An instruction is dropped that has no word, more than `max_characters` characters, a chat's markup, the words of
    the phrase or those of an earlier one; case and punctuation make no difference. Of an answer that does not hold one
    list of strings nothing is taken; of a list that is cut, what is whole.

    Args:
        answer: None where the LLM gave none.
        phrase: what it was asked for.
    """
    dropped: Counter[str] = Counter()
    listed = None if answer is None else _strings(answer, dropped)
    if listed is None:
        dropped["no answer" if answer is None else "answer out of form"] += 1
        return [], dropped
    taken: dict[str, str] = {}
    for text in listed:
        instruction = " ".join(unicodedata.normalize("NFC", text).split())
        words = _words(instruction)
        reason = _fault(instruction, words, max_characters) or ("the phrase itself" if words == _words(phrase) else "")
        reason = reason or ("repeated" if words in taken else "more than asked" if len(taken) == count else "")
        if reason:
            dropped[reason] += 1
        else:
            taken[words] = instruction
    return list(taken.values()), dropped


def _strings(answer: str, dropped: Counter[str]) -> list[str] | None:
    """The one list of strings; None where there is none, or another value beside it."""
    found = read_json(answer)
    if len(found) != 1 or isinstance(found[0].value, dict) or not all(isinstance(one, str) for one in found[0].value):
        return None
    if not found[0].whole:
        dropped["answer cut"] += 1
    return found[0].value


def _fault(instruction: str, words: str, max_characters: int) -> str:
    if not words:
        return "empty"
    if len(instruction) > max_characters:
        return "too long"
    return "not plain text" if not instruction.isprintable() or re.search(r"<[^<>\s]*>|\[/?INST\]", instruction) else ""


def _words(text: str) -> str:
    """What stays of a text when case and punctuation do not count."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold()))
