import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from storage.display import escaped, markdown, one_line
from storage.errors import InputError

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("safe\rEVIL", "safe\\x0dEVIL"),
        ("gpj\u202e.exe", "gpj\\u202e.exe"),
        ("half \ud800 pair", "half \\ud800 pair"),
        ("\U000e0041", "\\U000e0041"),
        ("Ринг, 環, حلقة, 👩‍🚀 and naïve", "Ринг, 環, حلقة, 👩‍🚀 and naïve"),
        ("[bold]\\[/x]:smile:", "[bold]\\[/x]:smile:"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_python_writes_it_and_all_else_as_it_is(text, shown):
    assert escaped(text) == shown


def test_a_name_cannot_break_the_line_that_it_is_shown_in():
    assert one_line("a\nb\tc\u2028d\x85e") == "a\\nb\\tc\\u2028d\\x85e"
    assert escaped("a\nb\tc") == "a\nb\tc"


@given(st.text(st.characters(codec=None), max_size=60))
def test_no_text_whatever_keeps_a_control_a_mark_of_direction_or_half_a_pair(text):
    shown = one_line(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI]
    shown.encode("utf-8")


@given(st.text(max_size=60) | st.text("|`*_<>[]()!&#~\\-+.) 1aé\n\t", max_size=60))
def test_markdown_shows_the_text_and_nothing_else(text):
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    rendered = html.parse(f"| name |\n| --- |\n| {markdown(text)} |")
    inline = [token for token in rendered if token.type == "inline"][1:]
    assert len(inline) == 1
    assert {child.type for child in inline[0].children} <= {"text", "text_special"}
    shown = "".join(child.content for child in inline[0].children)
    assert shown.split() == one_line(text).split()
    alone = [token.type for token in html.parse(markdown(text))]
    assert alone in ([], ["paragraph_open", "inline", "paragraph_close"]), json.dumps(markdown(text))


def test_an_error_of_the_engine_is_escaped_wherever_its_text_is_logged_and_keeps_what_it_saw():
    error = InputError("image_missing", "no '\x1b[2J\ud800.png'\nhere")
    assert str(error) == f"{error}" == "image_missing: no '\\x1b[2J\\ud800.png'\nhere"
    assert error.detail == "no '\x1b[2J\ud800.png'\nhere"
