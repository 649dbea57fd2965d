"""The keys of a manifest's record: which there are, which names look like one, and what a yes or no may be.

A key that is read wrongly is worse than one that is missing: `heldout` instead of `held_out` lets a mask train that
must only score. So a name that looks like a key that bears a label is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

MOMENT = ("episode", "camera", "frame", "time_s")
"""Where in a recording an image lies; without `episode` the others are the owner's."""
_WORDS = ("image", "instruction", "source", "kind", "difficulty", "held_out", *MOMENT)
KEYS = (*_WORDS, "targets", "mask", "ignore", "error")
"""What a JSONL record may have; every other key is the owner's, and is not read."""
TABLE_KEYS = (*_WORDS, "targets", "mask")
"""What a CSV may have as columns."""

_BEARS_LABEL = ("held_out", "targets", "mask", "ignore")
_OF_TARGETS = ("mask_rle", "polygons", "box", "boxes", "bbox", "segmentation")
_ALIKE = 0.85
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


def truth(name: str, value: object) -> bool:
    """A yes or no as JSON, CSV and tables write it: true, yes, 1, false, no, 0 in any case; nothing is no.

    Raises:
        ValueError: anything else.
    """
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return value == 1
    if isinstance(value, str) and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    raise ValueError(f"'{name}' must be true or false (or yes, no, 1, 0), got {value!r:.60}")


def misnamed(names: Collection[Any]) -> str:
    """What is wrong with names that look like a key, or belong to a target; "" where nothing is."""
    labeled = "targets" in names or "mask" in names
    for name in names:
        if isinstance(name, str) and name not in KEYS:
            if name in _OF_TARGETS and not labeled:
                return f"the key {name!r} belongs into an object of 'targets'; alone it would not be read"
            meant = _meant(name)
            if meant and meant not in names:
                return f"the key {name!r} looks like {meant!r} and would not be read; rename or remove it"
    return ""


@lru_cache(maxsize=4096)
def _meant(name: str) -> str:
    """The key that bears a label and that a name looks like, or ""."""
    plain = _plain(name)
    for key in _BEARS_LABEL:
        known = _plain(key)
        swapped = len(plain) == len(known) and sorted(plain) == sorted(known)
        if plain == known or swapped or SequenceMatcher(None, plain, known).ratio() >= _ALIKE:
            return key
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
