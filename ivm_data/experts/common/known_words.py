"""How much of a text a tokenizer knows."""

from __future__ import annotations

import re
from typing import Any

from ivm_model.model.words import spelled


def words_known_to(expert: object, phrase: str) -> float:
    """Share of a phrase's words that an expert knows: what its method `known_words` says, or 1 where it has none."""
    known = getattr(expert, "known_words", None)
    return 1.0 if known is None else float(known(phrase))


def known_words(tokenizer: Any, text: str) -> float:
    """Share of a text's words that a tokenizer spells without its unknown token (`spelled`); 0 without words."""
    known = spelled(tokenizer, text)
    words = [known[word] for word in re.findall(r"\w+", text)]
    return sum(words) / len(words) if words else 0.0
