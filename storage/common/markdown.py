"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

_BAR = re.compile(r"(?<!\\)\|")
"""A bar that nothing escapes yet."""


def markdown_table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A head and rows as a Markdown table: floats to three digits, None as "-", bars escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else _BAR.sub(r"\\|", str(value))
