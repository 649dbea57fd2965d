"""Conditions narrow a choice, or are refused; `CHOICE` has the rows x = 0 to 3."""

from contextlib import suppress

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.exports.condition import condition
from storage.errors import ConfigError

PIECES = [
    *(
        "true",
        "false",
        "x > 1",
        "(",
        ")",
        "OR",
        "AND",
        "NOT",
        "'",
        "--",
        "/*",
        "*/",
        ";",
        ",",
        "\n",
        "\0",
        "$$",
        '"',
        "1",
    ),
    *(
        "=",
        "IN",
        "END",
        "THEN",
        "SELECT",
        "UNION",
        "FROM t",
        "WHERE",
        "ORDER BY 1",
        "LIMIT 9",
        "GROUP BY x",
        "CASE WHEN",
    ),
]


CHOICE = duckdb.connect()
CHOICE.execute("CREATE TABLE t AS SELECT unnest([0, 1, 2, 3]) AS x")


def kept(text):
    """The rows that x = 2 AND the condition leaves."""
    with CHOICE.cursor() as cursor:
        return [x for (x,) in cursor.execute(f"SELECT x FROM t WHERE x = 2 AND {condition(text)}").fetchall()]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("x > 1", [2]),
        ("x > 9 OR x = 2", [2]),
        ("(x > 9) OR (x = 2)", [2]),
        ("true -- a remark", [2]),
        ("x IN (SELECT max(x) - 1 FROM t)", [2]),
        ("'it''s) OR (true' = ''", []),
        ("x = 3", []),
    ],
)
def test_one_expression_narrows_the_choice(text, rows):
    assert kept(text) == rows


@pytest.mark.parametrize(
    "text",
    [
        "true) OR (true",
        "x > 1) OR (x < 9",
        "true\n) OR (\ntrue",
        "true) --",
        "true;",
        "true; DROP TABLE t",
        "true UNION SELECT 1",
        "true ORDER BY 1",
        "true LIMIT 5",
        "true GROUP BY x",
        "true, true",
        "SELECT true",
        "true /*",
        "'open",
        "",
        " ",
        "-- nothing",
        "\x00",
        "x = 2\x00) OR (true",
        "\ud800",
    ],
)
def test_what_is_no_single_expression_is_refused_and_named(text):
    with pytest.raises(ConfigError, match="must be one SQL expression such as"):
        condition(text)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join) | st.text(max_size=20))
def test_no_condition_whatever_widens_a_choice(text):
    with suppress(ConfigError, duckdb.Error):
        assert set(kept(text)) <= {2}
