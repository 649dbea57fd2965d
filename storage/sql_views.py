"""The views that SQL sees, each with its meaning and the meaning of each column."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from storage import schema


@dataclass(frozen=True)
class SqlView:
    """A view over the files: `sql` reads the tables `light_files`, `heavy_files`, `timings_files` and so on.

    Attributes:
        columns: column name -> description.
    """

    name: str
    description: str
    sql: str
    columns: dict[str, str]


_LIGHT = schema.describe(schema.LIGHT)
_REJECTION = (
    "recipe, part, position, sample_id, source, kind, difficulty, image_uri, instruction, stage, reason, detail"
)
_OF_LABEL = "recipe, part, position, sample_id, source, kind, status, held_out"


def _unnested(column: str) -> tuple[str, dict[str, str]]:
    """SQL and columns of a view with a row for each element of a list column, in the list's order."""
    sql = f"""
        SELECT {_OF_LABEL}, generate_subscripts({column}, 1) - 1 AS rank, unnest({column}, max_depth := 2)
        FROM light_files WHERE outcome = 'label'"""
    element = pa.schema(schema.LIGHT.field(column).type.value_type)
    label = {name: _LIGHT[name] for name in _OF_LABEL.split(", ")}
    return sql, label | {"rank": "index in the label's list, from 0"} | schema.describe(element)


_EXCLUDED = """
    SELECT
        recipe, sample_id,
        CASE WHEN bool_or(scope = 'sample') THEN 'sample' ELSE 'mask' END AS scope,
        list(rule ORDER BY rule) AS excluded_by,
        string_agg(reason, '; ' ORDER BY rule) AS reasons
    FROM (
        SELECT recipe, sample_id, rule, max_by(struct_pack(verdict, scope, reason), decided_at) AS latest
        FROM decisions_files GROUP BY ALL
    ) AS of_rule, LATERAL (SELECT latest.verdict, latest.scope, latest.reason)
    WHERE verdict = 'exclude'
    GROUP BY recipe, sample_id"""
_OPINIONS = """
    SELECT sample_id, recipe, reviewer, unnest(latest) FROM (
        SELECT sample_id, recipe, reviewer,
            max_by(struct_pack(verdict, note, reviewed_at, mask), reviewed_at) AS latest
        FROM reviews_files GROUP BY ALL
    )
    WHERE latest.verdict <> 'withdrawn'"""
_RELIABILITY = """
    FROM reliability_files
    SEMI JOIN (SELECT recipe, max(measured_at) AS measured_at FROM reliability_files GROUP BY recipe) AS latest
    USING (recipe, measured_at)"""
_LABELS = "SELECT * EXCLUDE (outcome, stage, detail) FROM light_files WHERE outcome = 'label'"
_LABEL_COLUMNS = {name: text for name, text in _LIGHT.items() if name not in ("outcome", "stage", "detail")}

VIEWS = (
    SqlView("outcomes", "every input, with what became of it: a label or a rejection", "FROM light_files", _LIGHT),
    SqlView("labels", "every label, with all its scores", _LABELS, _LABEL_COLUMNS),
    SqlView(
        "rejections",
        "every input that ended without a label, with the stage that gave up and why",
        f"SELECT {_REJECTION} FROM light_files WHERE outcome = 'rejection'",
        {name: _LIGHT[name] for name in _REJECTION.split(", ")},
    ),
    SqlView(
        "excluded",
        "labels that cleaning keeps out of use; join it with labels on (recipe, sample_id)",
        _EXCLUDED,
        {
            "recipe": "recipe of the label",
            "sample_id": "sample of the label",
            "scope": "'mask': the engine's mask alone, or 'sample': image and instruction, whoever's mask",
            "excluded_by": "the rules that exclude it",
            "reasons": "what they saw",
        },
    ),
    SqlView(
        "clean_labels",
        "the labels that no cleaning rule excludes",
        f"{_LABELS} AND NOT EXISTS (FROM excluded AS e WHERE (e.recipe, e.sample_id) = "
        "(light_files.recipe, light_files.sample_id))",
        _LABEL_COLUMNS,
    ),
    SqlView("candidates", "every box that a grounder found for a label", *_unnested("candidates")),
    SqlView("proposals", "every mask that an expert proposed for a label, without its pixels", *_unnested("proposals")),
    SqlView("masks", "images and masks of the labels, as bytes", "FROM heavy_files", schema.describe(schema.HEAVY)),
    SqlView(
        "weights",
        "a discriminator's opinion of a label; join it with labels on (recipe, sample_id)",
        "FROM weights_files",
        schema.describe(schema.WEIGHTS),
    ),
    SqlView("lineage", "every model@revision that took part in a label, by its role", *_unnested("experts")),
    SqlView(
        "reliability",
        "sensitivity and specificity of each expert, as STAPLE last estimated them",
        _RELIABILITY,
        schema.describe(schema.RELIABILITY),
    ),
    SqlView(
        "decisions",
        "what cleaning decided, ever; `excluded` is what of it counts",
        "FROM decisions_files",
        schema.describe(schema.DECISIONS),
    ),
    SqlView(
        "measures",
        "what the pixels of a label say; join it with labels on (recipe, sample_id)",
        "FROM measures_files",
        schema.describe(schema.MEASURES),
    ),
    SqlView(
        "evaluation_images",
        "images that no training may see",
        "FROM evaluation_files",
        schema.describe(schema.EVALUATION),
    ),
    SqlView(
        "inputs",
        "which record of a manifest stands for which outcome; join it with outcomes on (recipe, sample_id)",
        "FROM inputs_files",
        schema.describe(schema.INPUTS),
    ),
    SqlView(
        "superseded",
        "outcomes that count in no other view: another one of their pair has taken their place",
        "FROM superseded_files",
        _LIGHT,
    ),
    SqlView("timings", "seconds of each stage on each part", "FROM timings_files", schema.describe(schema.TIMINGS)),
    SqlView(
        "reviews",
        "what people said of labels, ever; `opinions` is what of it counts",
        "FROM reviews_files",
        schema.describe(schema.REVIEWS),
    ),
    SqlView(
        "opinions",
        "what each person thinks of a label now; join it with labels on (recipe, sample_id)",
        _OPINIONS,
        schema.describe(schema.REVIEWS),
    ),
    SqlView(
        "recipes",
        "the configuration behind each recipe's hash",
        "SELECT recipe, config::JSON AS config FROM recipes_files",
        {"recipe": "hash of the whole recipe", "config": "the configuration, JSON"},
    ),
)
"""All views, in the order in which to read about them."""
