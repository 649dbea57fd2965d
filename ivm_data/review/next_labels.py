"""The next labels: the named query `review_queue`, over those that a person's own condition keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivm_data.exports.condition import condition
from storage.catalog import Catalog
from storage.sql import queries

_LABELS = "memory.main.labels"
"""The view itself, where the name `labels` means those that the condition keeps."""


def next_labels(catalog: Catalog, chosen: Mapping[str, Any], where: str = "") -> list[dict[str, Any]]:
    """Rows of the queue in their order.

    Args:
        chosen: parameters of `review_queue`.
        where: an SQL condition over the view `labels`; "" keeps all.

    Raises:
        ConfigError: the condition is not one expression, or names what is not there.
    """
    if not where.strip():
        return list(catalog.query("review_queue", **chosen).to_pylist())
    query = queries.load("review_queue")
    # The limit counts what the condition keeps, so it narrows what the query reads and not what it answers.
    kept = f"WITH labels AS (SELECT * FROM {_LABELS} WHERE {condition(where)})"
    return list(catalog.sql(f"{kept} SELECT * FROM (\n{query.sql}\n)", **query.bind(chosen)).to_pylist())
