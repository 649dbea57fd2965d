"""A person's SQL condition, checked to be one expression before it is joined to others."""

from __future__ import annotations

import unicodedata
from functools import cache

import duckdb

from storage.errors import ConfigError


def condition(text: str) -> str:
    """The text in parentheses, if it is one SQL expression, so that AND with it can only narrow a choice.

    `true) OR (true` is no expression, and would widen the choice. It is parsed once without our parentheses, where a
    parenthesis of its own has to be opened before it is closed, and once within them, where nothing but an expression
    can stand.

    Raises:
        ConfigError: it is none, with DuckDB's reason.
    """
    if any(unicodedata.category(sign) in ("Cc", "Cs") and not sign.isspace() for sign in text):
        raise _refusal(text, "it has control characters")
    joined = f"(\n{text}\n)"
    with _parser().cursor() as connection:
        for place in (text, joined):
            try:
                statements = connection.extract_statements(f"SELECT 1 WHERE {place}\n")
            except duckdb.Error as error:
                raise _refusal(text, str(error).splitlines()[0]) from error
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise _refusal(text, f"it is {len(statements)} statements")
    return joined


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A database without tables that parses only: opening one takes longer than all the rest."""
    return duckdb.connect(":memory:")


def _refusal(text: str, why: str) -> ConfigError:
    return ConfigError(f"a condition must be one SQL expression such as quality > 0.9, got {text!r}: {why}")
