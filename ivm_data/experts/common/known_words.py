"""How much of a text a tokenizer knows."""

from __future__ import annotations

import re
from typing import Any


def words_known_to(expert: object, phrase: str) -> float:
    """Share of a phrase's words that an expert knows: what its method `known_words` says, or 1 where it has none."""
    known = getattr(expert, "known_words", None)
    return 1.0 if known is None else float(known(phrase))


def known_words(tokenizer: Any, text: str) -> float:
    """Share of a text's words that a tokenizer spells without its unknown token; 0 without words.

    A tokenizer that has no unknown token, as one over bytes, spells everything and knows nothing of what it spells.
    """
    words = re.findall(r"\w+", text)
    # With padding, as every batch: a tokenizer keeps that as a state, which threads must not change for each other.
    spelled = [tokenizer([word], padding=True, add_special_tokens=False)["input_ids"][0] for word in words]
    known = [tokenizer.unk_token_id not in ids for ids in spelled]
    return sum(known) / len(known) if known else 0.0
