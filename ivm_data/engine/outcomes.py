"""What the pairs of a manifest ended as, over every run that labeled them: asked of the data set, not of one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ivm_data.engine.guard import INPUT_STAGE
from ivm_data.engine.labeling import LabelingRun
from storage.catalog import Catalog

_COUNTED = """
    SELECT coalesce(status, 'failed: ' || reason) AS outcome, coalesce(stage = $ingest, false) AS bad, count(*) AS pairs
    FROM outcomes WHERE recipe = $recipe AND part IN (SELECT unnest($parts)) GROUP BY ALL"""


@dataclass(frozen=True)
class ManifestCounts:
    """Counts over the committed parts of a run's manifest, whoever committed them.

    Attributes:
        statuses: labels by status, and rejections as "failed: REASON".
        bad_inputs: of the rejections those that could not be read at all.
        elsewhere: pairs that are committed in the object store and not in this folder.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    bad_inputs: int = 0
    elsewhere: int = 0


def manifest_counts(run: LabelingRun) -> ManifestCounts:
    """Count what is committed of a run's manifest now."""
    committed = [part for part in run.parts if run.has(part)]
    if not committed:
        return ManifestCounts()
    with Catalog(run.data) as catalog:
        names = [part.name for part in committed]
        rows = catalog.sql(_COUNTED, recipe=run.recipe_hash, parts=names, ingest=INPUT_STAGE).to_pylist()
    statuses: Counter[str] = Counter()
    for row in rows:
        statuses[row["outcome"]] += row["pairs"]
    expected = sum(part.records for part in committed)
    return ManifestCounts(statuses, sum(row["pairs"] for row in rows if row["bad"]), expected - statuses.total())
