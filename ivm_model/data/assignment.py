"""Which labels train, and as what, after people reviewed them and rules cleaned them."""

from __future__ import annotations

from typing import Literal

from storage.records import Scope
from storage.reviews import Adjudication

Split = Literal["human", "machine", "test", ""]
"""What a label is to a training; "" is nothing."""


def assign(side: Split, scope: Scope | None, ruling: Adjudication | None) -> Split:
    """The side that a label is on in the end.

    The test side stays as it is. Reviews are about the engine's mask, so a human one outweighs them, and what they
    confirm or correct becomes human; a wrong instruction spoils any mask. Cleaning takes the engine's mask, or the
    sample with whoever's mask.

    Args:
        side: what the label is by its human mask, its status and its image.
        scope: of its exclusion, from `storage.decisions.excluded`; None where nothing excludes it.
        ruling: from `storage.reviews.adjudications`; None where nobody judged it.
    """
    if side == "test":
        return side
    if ruling is not None:
        if ruling.verdict == "wrong_instruction":
            return ""
        if side != "human":
            side = "" if ruling.verdict == "wrong" else "human"
    return "" if scope == "sample" or (scope and side == "machine") else side
