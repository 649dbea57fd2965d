"""The views that SQL sees, each a file `views/<name>.sql` with its meaning and the meaning of its columns.

-- One line of description.
-- columns: light, light.candidates    kinds, or a list column of one, whose schema describes the columns
-- column rank: what a column means that no schema has
SELECT ... FROM light_files            one of `<kind>_files`, `recipes_files`, or an earlier view
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from storage.common import sql_files
from storage.parts import layout, schema

_COLUMNS = re.compile(r"^-- columns: (.+)$", re.MULTILINE)
_COLUMN = re.compile(r"^-- column (\w+): (.+)$", re.MULTILINE)

_NAMES = (
    *("outcomes", "labels", "rejections", "excluded", "clean_labels", "candidates", "proposals", "masks", "weights"),
    *("lineage", "reliability", "decisions", "measures", "evaluation_images", "inputs", "superseded", "timings"),
    *("reviews", "opinions", "recipes"),
)
"""In the order in which to read about them; a view may use earlier ones."""


@dataclass(frozen=True)
class SqlView:
    """A view over the files.

    Attributes:
        columns: column name -> description, of at least its columns.
    """

    name: str
    description: str
    sql: str
    columns: dict[str, str]


def _view(name: str, text: str) -> SqlView:
    sources = [source for listed in _COLUMNS.findall(text) for source in listed.split(", ")]
    columns = {column: meaning for source in sources for column, meaning in _described(source).items()}
    return SqlView(name, sql_files.description(text), text, columns | dict(_COLUMN.findall(text)))


def _described(source: str) -> dict[str, str]:
    """Column name -> description, of a kind's schema, or of the elements of a list column: `light.candidates`."""
    kind, _, column = source.partition(".")
    columns = layout.SCHEMAS[kind]
    return schema.describe(pa.schema(columns.field(column).type.value_type) if column else columns)


_TEXTS = sql_files.load("storage.sql", "views")
VIEWS = tuple(_view(name, _TEXTS[name]) for name in _NAMES)
"""All views, in that order."""
