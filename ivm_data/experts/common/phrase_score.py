"""Captions for open-vocabulary detectors, and the score of a phrase from its own token span.

Both known ports of Grounding DINO leak `[SEP]` and "." into labels when they threshold single tokens; here a box's
score for a phrase is the mean probability over exactly the phrase's tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DELIMITERS = frozenset({101, 102, 1012, 1029})
"""BERT's ids of [CLS], [SEP], "." and "?", which Grounding DINO hard-codes as the borders of phrases."""
PAD = 0


def clean(phrase: str) -> str:
    """Lower case, single spaces, and none of the marks that would split the phrase in two."""
    return " ".join(re.sub(r"[.?]", " ", phrase).lower().split())


def caption(phrases: Sequence[str]) -> str:
    """("red ring", "green star") -> "red ring . green star ."."""
    return " ".join(f"{clean(phrase)} ." for phrase in phrases)


def captions(
    phrases: Sequence[str], max_tokens: int, count_tokens: Callable[[str], int]
) -> Iterator[tuple[list[int], str]]:
    """Split phrases over as few captions as fit in `max_tokens` with [CLS] and [SEP], never inside a phrase.

    Yields:
        Indices of the phrases and their caption. A phrase without words, or longer than a caption, is in none.
    """
    chosen: list[int] = []
    used = 2
    for index, phrase in enumerate(phrases):
        words = clean(phrase)
        length = count_tokens(words) + 1
        if not words or length + 2 > max_tokens:
            continue
        if used + length > max_tokens:
            yield chosen, caption([phrases[i] for i in chosen])
            chosen, used = [], 2
        chosen.append(index)
        used += length
    if chosen:
        yield chosen, caption([phrases[i] for i in chosen])


def phrase_spans(input_ids: Sequence[int]) -> list[tuple[int, int]]:
    """(start, stop) token positions of each phrase of a tokenised caption, in order."""
    spans, start = [], None
    for position, token in enumerate([*input_ids, PAD]):
        is_border = token in DELIMITERS or token == PAD
        if is_border and start is not None:
            spans.append((start, position))
            start = None
        elif not is_border and start is None:
            start = position
    return spans


def span_scores(logits_QT: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Probability of each query for each phrase, (Q, P) in [0, 1]: the mean over the phrase's own tokens."""
    import torch

    probability_QT = logits_QT.float().sigmoid()
    return torch.stack([probability_QT[:, start:stop].mean(dim=1) for start, stop in spans], dim=1)


def without_markup(phrase: str) -> str:
    """`clean`, and without the brackets and bars that every special token of these models is written in.

    NFKC first: a tokenizer may fold a full-width bracket into a plain one.
    """
    return clean(re.sub("[<>|]", " ", unicodedata.normalize("NFKC", phrase)))
