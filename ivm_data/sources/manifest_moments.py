"""Where in a recording a manifest's image lies: `episode`, `camera`, `frame` and `time_s` of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from storage.records import Moment

MAX_NAME = 500
"""Characters that an episode or a camera may have."""
MAX_FRAME = 2**31 - 1


def moment(fields: Mapping[str, Any]) -> Moment | None:
    """The moment of a record; None for a still: without `episode` the other keys are the owner's, and are not read.

    Args:
        fields: the record; numbers may be text, as tables have them, and an empty value is none.

    Raises:
        ValueError: a value of another type, or out of its range.
    """
    if fields.get("episode") in (None, ""):
        return None
    camera, frame, time_s = (
        None if fields.get(name) == "" else fields.get(name) for name in ("camera", "frame", "time_s")
    )
    return Moment(
        _name("episode", fields["episode"]),
        "" if camera is None else _name("camera", camera),
        None if frame is None else _frame(frame),
        None if time_s is None else _seconds(time_s),
    )


def _name(key: str, value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"'{key}' must be a string or a whole number, got {value!r:.60}")
    text = str(value)
    if not text.isprintable() or not text.strip() or len(text) > MAX_NAME:
        raise ValueError(f"'{key}' must be 1 to {MAX_NAME} characters that can be seen, got {value!r:.60}")
    return text.strip()


def _frame(value: object) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_FRAME:
        raise ValueError(f"'frame' must be a whole number from 0 to {MAX_FRAME}, got {value!r:.60}")
    return number


def _seconds(value: object) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"'time_s' must be a number of seconds from 0 on, got {value!r:.60}")
    return number
