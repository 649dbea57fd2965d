"""Boxes as LMMs write them.

    qwen2.5     [{"bbox_2d": [x1, y1, x2, y2], "label": ...}, ...]   pixels of the image that the model saw
    qwen3       the same in thousandths of width and height, as Qwen2-VL and Qwen3-VL write them
    normalised  [x1, y1, x2, y2], ...                                shares of width and height, as LLaVA and Visual CoT

The units of the Qwen models: https://github.com/QwenLM/Qwen3-VL/issues/866. What may stand around the list:
`json_answers`. Only an empty list says that there is no such thing: an answer that cannot be read is not one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms.json_answers import JsonValue, read_json
from storage.records import Box

BoxFormat = Literal["qwen2.5", "qwen3", "normalised"]
MAX_BOXES = 100
"""An answer with more comes from a model that repeats itself."""
_LARGEST = 1e6
"""No coordinate of an image that can be decoded comes near it."""


class BoxAnswer(NamedTuple):
    """What an answer says.

    Attributes:
        boxes: in its order, in pixels of the image that the LMM was shown; some perhaps outside or inverted.
        unread: entries that are no box, and one for a list that is cut.
    """

    boxes: list[Box]
    unread: int


def read_boxes(answer: str, form: BoxFormat, width: int, height: int) -> BoxAnswer:
    """The boxes of an answer; none only where it says so.

    Args:
        width, height: of the image that the LMM was shown.

    Raises:
        AnswerError: nothing in it can be read as boxes, it holds several lists, or more than `MAX_BOXES` boxes.
    """
    values = read_json(answer)
    rows, is_cut = _plain_rows(values) if form == "normalised" else _object_rows(values)
    if len(rows) > MAX_BOXES:
        raise AnswerError(f"it names {len(rows)} boxes, more than {MAX_BOXES}")
    corners = [row for row in rows if _is_corners(row)]
    unread = len(rows) - len(corners) + is_cut
    if unread and not corners:
        raise AnswerError(f"none of its {len(rows)} entries is a box of the form {form!r}")
    x, y = {"qwen2.5": (1.0, 1.0), "qwen3": (width / 1000, height / 1000), "normalised": (width, height)}[form]
    return BoxAnswer([Box(x0 * x, y0 * y, x1 * x, y1 * y) for x0, y0, x1, y1 in corners], unread)


def _object_rows(values: Sequence[JsonValue]) -> tuple[list[Any], bool]:
    """What stands under "bbox_2d" in each object of the one list, or in each of several objects without one."""
    objects = [found.value for found in values if isinstance(found.value, dict)]
    lists = [found for found in values if isinstance(found.value, list) and _may_hold_objects(found.value)]
    if len(lists) + bool(objects) != 1:
        raise AnswerError("it holds no list of objects" if not lists else f"it holds {len(values)} lists and objects")
    things = lists[0].value if lists else objects
    return [thing.get("bbox_2d") if isinstance(thing, dict) else None for thing in things], not all(
        found.whole for found in lists
    )


def _may_hold_objects(entries: list[Any]) -> bool:
    """Whether a list is empty or of objects; one of numbers alone is part of a sentence."""
    return not entries or any(isinstance(entry, dict) for entry in entries)


def _plain_rows(values: Sequence[JsonValue]) -> tuple[list[Any], bool]:
    """Each list of numbers, alone or within another list."""
    if not values:
        raise AnswerError("it holds no list")
    rows: list[Any] = []
    for value in (found.value for found in values):
        nested = isinstance(value, list) and all(isinstance(row, list) for row in value)
        rows += value if nested else [value]
    return rows, not all(found.whole for found in values)


def _is_corners(row: Any) -> bool:
    """Four numbers; the bound keeps out NaN, infinity and integers that no float holds."""
    return isinstance(row, list) and len(row) == 4 and all(type(x) in (int, float) and abs(x) <= _LARGEST for x in row)
