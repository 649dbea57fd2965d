"""The named queries: files `queries/<name>.sql` whose header says what they answer and take; see `sql_files`.

-- One line of description.
-- $limit = 20: what the parameter means; the default is JSON
SELECT ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from storage.common import sql_files
from storage.common.near import meant
from storage.errors import ConfigError

_PARAMETER = re.compile(r"-- \$(\w+) = (.+?): (.+)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a query takes; its type is its default's."""

    name: str
    default: bool | int | float | str
    meaning: str

    def parse(self, value: Any) -> bool | int | float | str:
        """Turn a value, or its text from a command line, into the parameter's type."""
        kind = type(self.default)
        if isinstance(value, kind):
            return value
        try:
            return {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(value)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"parameter {self.name!r} ({self.meaning}) must be {kind.__name__}, got {value!r}; "
                f"its default is {self.default!r}"
            ) from None


@dataclass(frozen=True)
class Query:
    """A named query over the catalog's views."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    sql: str

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter with its given or default value.

        Raises:
            ConfigError: an unknown parameter, or a value of another type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if unknown := sorted(set(values) - set(known)):
            near, all_ = meant(unknown[0], known), ", ".join(sorted(known)) or "none"
            raise ConfigError(f"query {self.name!r} has no parameter {unknown[0]!r}; it takes {all_}{near}")
        return {name: parameter.parse(values.get(name, parameter.default)) for name, parameter in known.items()}


@cache
def named_queries() -> tuple[Query, ...]:
    """Every named query, in alphabetic order."""
    return tuple(parse(name, text) for name, text in sql_files.load("storage.sql", "queries").items())


def load(name: str) -> Query:
    """The query of that name.

    Raises:
        ConfigError: with all names, where there is none.
    """
    by_name = {query.name: query for query in named_queries()}
    if name not in by_name:
        raise ConfigError(f"no query {name!r}; the queries are: {', '.join(by_name)}{meant(name, by_name)}")
    return by_name[name]


def parse(name: str, text: str) -> Query:
    """A query from SQL with a header."""
    parameters = (Parameter(key, json.loads(default), meaning) for key, default, meaning in _PARAMETER.findall(text))
    return Query(name, sql_files.description(text), tuple(parameters), text)
