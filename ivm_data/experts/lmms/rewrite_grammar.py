"""The one line in which a rewriter answers, written and read.

    find [all] PHRASE [and PHRASE]* [RELATION ANCHOR]

as in "find red ring and green star", "find star left of small blue square", "find all red star".
"""

from __future__ import annotations

import re
from typing import Literal

from storage.records import Rewrite

RELATIONS = ("left of", "right of", "above", "below")
MAX_PHRASES = 8
MAX_WORDS = 12
"""Words in a noun phrase; a longer one is a sentence, which no detector can ground."""
_FILLERS = re.compile(r"\b(?:to the (?=left of|right of)|(?:the|an|a) )")
_RELATION = re.compile(rf" ({'|'.join(RELATIONS)}) ")
_PHRASE = re.compile(r"[^\W_]+(?:[-' ][^\W_]+)*")
_STRUCTURE = re.compile(rf"\b(?:find|all|and|{'|'.join(RELATIONS)})\b")
"""What may stand between noun phrases, never within one."""


def format_rewrite(rewrite: Rewrite) -> str:
    """The line for a rewrite: the inverse of `parse_rewrite`."""
    some = "all " if rewrite.quantity == "all" else ""
    where = f" {rewrite.relation} {rewrite.anchor}" if rewrite.relation else ""
    return f"find {some}{' and '.join(rewrite.phrases)}{where}"


def parse_rewrite(answer: str) -> Rewrite:
    """Read a rewriter's answer; articles, case and a final full stop do not matter, anything else must fit.

    Returns:
        The rewrite, with `understood` 1; `phrases` is empty where the answer is not such a line.
    """
    line = " ".join(answer.lower().split()).removesuffix(".")
    verb, _, rest = line.partition(" ")
    targets, relation, anchor = _split(_FILLERS.sub("", rest))
    quantity: Literal["one", "all"] = "all" if targets.startswith("all ") else "one"
    phrases = tuple(dict.fromkeys(targets.removeprefix("all ").split(" and ")))
    named = (*phrases, anchor) if relation else phrases
    if verb != "find" or len(phrases) > MAX_PHRASES or not all(map(_is_phrase, named)):
        return Rewrite(phrases=())
    return Rewrite(phrases, anchor, relation, quantity)


def _split(rest: str) -> tuple[str, str, str]:
    """Targets, relation and anchor; more than one relation leaves an anchor that is no phrase."""
    parts = _RELATION.split(rest)
    if len(parts) == 1:
        return rest, "", ""
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (rest, parts[1], "")


def _is_phrase(text: str) -> bool:
    return len(text.split()) <= MAX_WORDS and bool(_PHRASE.fullmatch(text)) and not _STRUCTURE.search(text)
