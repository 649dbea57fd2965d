"""Boxes as LMMs write them, read strictly.

    qwen2.5     [{"bbox_2d": [x1, y1, x2, y2], "label": ...}, ...]   pixels of the image that the model saw
    qwen3       the same in thousandths of width and height, as Qwen2-VL and Qwen3-VL write them
    normalised  [x1, y1, x2, y2], ...                                shares of width and height, as LLaVA and Visual CoT

The units of the Qwen models: https://github.com/QwenLM/Qwen3-VL/issues/866.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from storage.records import Box

BoxFormat = Literal["qwen2.5", "qwen3", "normalised"]
MAX_BOXES = 100
"""An answer with more comes from a model that repeats itself."""
_MAX_LENGTH = 100_000
"""Characters that are read; `MAX_BOXES` boxes with their labels need a tenth."""
_LARGEST = 1e6
"""No coordinate of an image that can be decoded comes near it."""
_FENCE = re.compile(r"```(?:json)?\s(.*)```", re.DOTALL)


def read_boxes(answer: str, form: BoxFormat, width: int, height: int) -> list[Box]:
    """The boxes of an answer, in its order.

    Args:
        width, height: of the image that the LMM was shown.

    Returns:
        Boxes in pixels of that image, some perhaps outside or inverted; none where the answer is out of form.
    """
    text = answer.strip()
    if len(text) > _MAX_LENGTH:
        return []
    try:
        rows = _plain_rows(text) if form == "normalised" else _json_rows(text)
    except (ValueError, RecursionError):  # json gives up with the latter on deeply nested lists
        return []
    if len(rows) > MAX_BOXES or not all(map(_is_corners, rows)):
        return []
    x, y = {"qwen2.5": (1.0, 1.0), "qwen3": (width / 1000, height / 1000), "normalised": (width, height)}[form]
    return [Box(x0 * x, y0 * y, x1 * x, y1 * y) for x0, y0, x1, y1 in rows]


def _json_rows(text: str) -> list[Any]:
    """What stands under "bbox_2d" in each object of a JSON list, which may stand in a Markdown fence."""
    fenced = _FENCE.fullmatch(text)
    things = json.loads(fenced[1] if fenced else text)
    if not isinstance(things, list):
        return []
    return [thing.get("bbox_2d") if isinstance(thing, dict) else None for thing in things]


def _plain_rows(text: str) -> list[Any]:
    """One list of four numbers, several with commas between them, or a list of such lists."""
    rows = json.loads(f"[{text.removesuffix('.')}]")
    nested = len(rows) == 1 and isinstance(rows[0], list) and all(isinstance(row, list) for row in rows[0])
    return rows[0] if nested else rows


def _is_corners(row: Any) -> bool:
    """Four numbers; the bound keeps out NaN, infinity and integers that no float holds."""
    return isinstance(row, list) and len(row) == 4 and all(type(x) in (int, float) and abs(x) <= _LARGEST for x in row)
