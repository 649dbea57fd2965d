"""Text from data as people see it: instructions, names and paths are shown escaped, never obeyed.

Terminals obey ESC sequences, text layout obeys marks of direction, Markdown obeys its signs. Lone surrogates cannot
even be printed. What is written into files for programs is not changed by any of this.
"""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction: Unicode's Bidi_Control
    "\u200b\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # separators and marks without a glyph
    "\ud800-\udfff"  # lone surrogates
    "]"
)
_NEWLINES = {"\n": "\\n", "\t": "\\t"}
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&#!]|(?<![^\W_])_|_(?![^\W_])|^[-+](?=[\s-])|^[-+]$|^=")
_NUMBERED = re.compile(r"^(\d+)([.)])")


def escaped(text: str) -> str:
    r"""The text with what a terminal would obey as Python writes it, `\x1b`; tabs and newlines stay."""
    return _OBEYED.sub(lambda sign: _code(ord(sign[0])), text)


def one_line(text: str) -> str:
    r"""As `escaped`, tabs and newlines too: for a cell of a table or a name in a message."""
    return "".join(_NEWLINES.get(sign, sign) for sign in escaped(text))


def markdown(text: str) -> str:
    """The text as one line of Markdown that shows it as it is: no link, picture, HTML, emphasis or cell of a table."""
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", one_line(text).strip()))


def _code(number: int) -> str:
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
