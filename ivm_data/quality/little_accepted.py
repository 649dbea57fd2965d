"""Why a recipe accepted nothing, or knew hardly a word, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage.records import REASONS

ANSWERED = ("ok", "target_absent", "whole_image")
"""Reasons of pairs that the gate let through."""
MOST = 0.5
"""Share of pairs with unknown words from which on it is said."""

_SMALL_WORLD = (
    "its experts are embedded ones, which know only the small world of 'ivm world', and no photographs. See what a "
    "recipe with full-size models needs here with 'ivm doctor --recipe small', then label with --recipe small"
)
SMALL_WORLD_ALONE = (
    "the experts of recipe '{recipe}' are embedded ones, which know only the small world of 'ivm world', and no "
    "photographs; for those take another recipe: ivm doctor --recipe small"
)
_IN_ENGLISH = (
    "ask in English, and in words for things that can be seen; 'ivm rewrite' shows what becomes of an instruction"
)
_NOT_CALIBRATED = (
    "the recipe has no calibration, so that its quality is only how far its experts agree: give true masks of 200 "
    "pairs with 'ivm review', fit one with 'ivm calibrate', and label with --set calibration=FILE"
)
_LOOK = "'ivm report' shows the labels, 'ivm explain SAMPLE' how one came about"


def advice(config: Mapping[str, Any], reasons: Mapping[str, int]) -> str:
    """One paragraph, or "" where something was accepted and most pairs have known words.

    Args:
        config: the recipe's values, as `Recipe.to_dict` gives them.
        reasons: why the pairs ended that could be read, by reason code.
    """
    pairs, unknown = sum(reasons.values()), reasons.get("not_understood", 0)
    name = config.get("name", "")
    if pairs and unknown > MOST * pairs:
        what = f"{unknown} of {pairs} pairs have words that the experts of recipe {name!r} do not know"
        return f"{what}: {_SMALL_WORLD if is_embedded(config) else _IN_ENGLISH}."
    if not pairs or any(reasons.get(reason) for reason in ANSWERED):
        return ""
    reason = max(sorted(reasons), key=lambda reason: reasons[reason])
    what = f"nothing is accepted; {reasons[reason]} of {pairs} pairs are '{reason}': {REASONS.get(reason, '')}"
    if is_embedded(config):
        return f"{what}. Recipe {name!r}: {_SMALL_WORLD}. {_LOOK}."
    return f"{what}. {_LOOK}" + (f"; {_NOT_CALIBRATED}." if not config.get("calibration") else ".")


def is_embedded(config: Mapping[str, Any]) -> bool:
    """Whether experts of a recipe are the embedded ones."""
    return '"path": "zoo:' in json.dumps(config)
