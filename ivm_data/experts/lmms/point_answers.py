"""Points as LMMs of the Molmo family write them.

    Molmo    <point x="61.5" y="40.2" alt="mug">mug</point>, <points x1="10.0" y1="20.5" x2="30.0" y2="41.0" ...>
             percent of width and height
    Molmo 2  <points coords="1 1 615 402 2 300 410">mugs</points>
             the image's number, then for each point its own, and thousandths of width and height

Only words that say so mean that there is no such thing: an answer that cannot be read is not one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ivm_data.experts.common.protocols import AnswerError

MAX_POINTS = 100
"""An answer with more comes from a model that repeats itself."""
MAX_CHARACTERS = 100_000
"""Of an answer that is read at all."""
_TAG = re.compile(r"<points?\b([^<>]*)>?", re.IGNORECASE)
_COORDS = re.compile(r'coords\s*=\s*"([^"]*)"?')
_PERCENT = re.compile(r'\b([xy])(\d*)\s*=\s*"\s*(-?\d+(?:\.\d+)?)\s*"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NONE = re.compile(r"\b(there (are|is) (none|no)\b|none\b|not (visible|present|in the image))", re.IGNORECASE)


class Point(NamedTuple):
    """A place in a picture, in shares of its width and height."""

    x: float
    y: float


def read_points(answer: str) -> list[Point]:
    """The points of an answer that lie in the picture; none only where it says that there are none.

    A list that is cut keeps its whole points.

    Raises:
        AnswerError: nothing in it can be read as points, all lie outside, or it names more than `MAX_POINTS`.
    """
    text = answer.rpartition("</think>")[2][:MAX_CHARACTERS]
    tags = [match[1] for match in _TAG.finditer(text)]
    named = [point for tag in tags for point in _points(tag)]
    if len(named) > MAX_POINTS:
        raise AnswerError(f"it names {len(named)} points, more than {MAX_POINTS}")
    inside = list(dict.fromkeys(point for point in named if 0 <= point.x <= 1 and 0 <= point.y <= 1))
    if inside:
        return inside
    if named:
        raise AnswerError(f"none of its {len(named)} points lies in the image")
    if tags or not _NONE.search(text):
        raise AnswerError("it holds no point, and does not say that there is none")
    return []


def _points(tag: str) -> list[Point]:
    """Those of one tag's attributes."""
    if coords := _COORDS.search(tag):
        numbers = [float(number) for number in _NUMBER.findall(coords[1])][1:]
        whole = len(numbers) - len(numbers) % 3
        return [Point(numbers[i + 1] / 1000, numbers[i + 2] / 1000) for i in range(0, whole, 3)]
    found: dict[str, dict[str, float]] = {}
    for axis, number, value in _PERCENT.findall(tag):
        found.setdefault(number, {})[axis] = float(value) / 100
    return [Point(one["x"], one["y"]) for one in found.values() if len(one) == 2]
