"""Which words of a text a tokenizer knows."""

from __future__ import annotations

import re
from typing import Any


def spelled(tokenizer: Any, text: str) -> dict[str, bool]:
    """The words of a text, each with whether a tokenizer spells it without its unknown token; a repeated word once.

    A tokenizer that has no unknown token, as one over bytes, spells everything and knows nothing of what it spells.
    """
    words = dict.fromkeys(re.findall(r"\w+", text))
    # With padding, as every batch: a tokenizer keeps that as a state, which threads must not change for each other.
    ids = {word: tokenizer([word], padding=True, add_special_tokens=False)["input_ids"][0] for word in words}
    return {word: tokenizer.unk_token_id not in ids[word] for word in words}
