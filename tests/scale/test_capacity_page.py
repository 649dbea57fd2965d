"""What docs/capacity.md says was measured is what benchmarks/results holds."""

import pytest

from benchmarks import capacity_page
from storage.errors import ConfigError

TABLE = "| work | CPU s |\n| --- | --- |\n| open | 2 |"


def test_the_page_is_what_was_measured():
    text = capacity_page.PAGE.read_text(encoding="utf-8")
    assert capacity_page.page(text) == text


def test_a_table_takes_the_place_of_the_one_with_its_head_and_of_no_other():
    other = "| work | s |\n|---|---|\n| open | 9 |\n"
    text = f"{other}\n| work | CPU s |\n|---|---|\n| open | 1 |\n| close | 1 |\n\nEnd\n"
    assert capacity_page.with_table(text, TABLE) == f"{other}\n{TABLE}\n\nEnd\n"
    with pytest.raises(ConfigError, match="2 tables with the head"):
        capacity_page.with_table(text + text, TABLE)
