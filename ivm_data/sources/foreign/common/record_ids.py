"""Ids of records as JSON has them -> 64-bit numbers, equal where the ids mean the same."""

from __future__ import annotations

import hashlib
import re
from typing import Any

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_OF_TEXT = 1 << 62
"""Numbers below its negative stand for text."""


def record_id(value: Any) -> int:
    """A number for an id: 7, 7.0 and "7" are one, any other text is known by 62 bits of its hash.

    Raises:
        ValueError: a number that is not whole or too large, or another value.
    """
    if type(value) is int and abs(value) < _OF_TEXT:  # nearly every id there is
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _OF_TEXT:
        return value
    if isinstance(value, str) and value.strip():
        digest = hashlib.blake2b(value.strip().encode("utf-8", "replace"), digest_size=8).digest()
        return -_OF_TEXT - int.from_bytes(digest) % _OF_TEXT
    raise ValueError(f"an id must be a whole number below 2**62 or text, got {value!r:.60}")
