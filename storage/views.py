"""The views that SQL sees, each with its meaning and the meaning of each column."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from storage import schema


@dataclass(frozen=True)
class View:
    """A view over the files: `sql` reads the tables `light_files`, `heavy_files`, `timings_files` and so on.

    Attributes:
        columns: column name -> description.
    """

    name: str
    description: str
    sql: str
    columns: dict[str, str]


_LIGHT = schema.describe(schema.LIGHT)
_REJECTION = "recipe, part, position, sample_id, source, image_uri, instruction, stage, reason, detail"
_OF_LABEL = "recipe, part, position, sample_id, source, kind, status, held_out"


def _unnested(column: str) -> tuple[str, dict[str, str]]:
    """SQL and columns of a view with a row for each element of a list column, in the list's order."""
    sql = f"""
        SELECT {_OF_LABEL}, generate_subscripts({column}, 1) - 1 AS rank, unnest({column}, max_depth := 2)
        FROM light_files WHERE outcome = 'label'"""
    element = pa.schema(schema.LIGHT.field(column).type.value_type)
    label = {name: _LIGHT[name] for name in _OF_LABEL.split(", ")}
    return sql, label | {"rank": "index in the label's list, from 0"} | schema.describe(element)


VIEWS = (
    View("outcomes", "every input, with what became of it: a label or a rejection", "FROM light_files", _LIGHT),
    View(
        "labels",
        "every label, with all its scores",
        "SELECT * EXCLUDE (outcome, stage, detail) FROM light_files WHERE outcome = 'label'",
        {name: text for name, text in _LIGHT.items() if name not in ("outcome", "stage", "detail")},
    ),
    View(
        "rejections",
        "every input that ended without a label, with the stage that gave up and why",
        f"SELECT {_REJECTION} FROM light_files WHERE outcome = 'rejection'",
        {name: _LIGHT[name] for name in _REJECTION.split(", ")},
    ),
    View("candidates", "every box that a grounder found for a label", *_unnested("candidates")),
    View("proposals", "every mask that an expert proposed for a label, without its pixels", *_unnested("proposals")),
    View("masks", "images and masks of the labels, as bytes", "FROM heavy_files", schema.describe(schema.HEAVY)),
    View(
        "weights",
        "a discriminator's opinion of a label; join it with labels on (recipe, sample_id)",
        "FROM weights_files",
        schema.describe(schema.WEIGHTS),
    ),
    View("timings", "seconds of each stage on each part", "FROM timings_files", schema.describe(schema.TIMINGS)),
    View(
        "reviews",
        "a person's opinion of a label; join it with labels on (recipe, sample_id)",
        "FROM reviews_files",
        schema.describe(schema.REVIEWS),
    ),
    View(
        "recipes",
        "the configuration behind each recipe's hash",
        "SELECT recipe, config::JSON AS config FROM recipes_files",
        {"recipe": "hash of the whole recipe", "config": "the configuration, JSON"},
    ),
)
"""All views, in the order in which to read about them."""
