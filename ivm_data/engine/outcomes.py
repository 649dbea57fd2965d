"""What the pairs of a manifest ended as, over every run that labeled them: asked of the data set, not of one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from ivm_data.engine.labeling import LabelingRun
from storage import schema
from storage.data_set import DataSet
from storage.ledger import samples_of
from storage.reader import among
from storage.records import INPUT_STAGE
from storage.shards import committed_parts

_COLUMNS = pa.schema([schema.LIGHT.field(name) for name in ("status", "stage", "reason")])


@dataclass(frozen=True)
class ManifestCounts:
    """Counts over the committed records of a run's manifest, from any run.

    Attributes:
        statuses: labels by status, and rejections as "failed: REASON".
        reasons: why pairs ended that could be read, by reason code.
        bad_inputs: of the rejections those that could not be read at all.
        elsewhere: pairs that are committed in the object store and not in this folder.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bad_inputs: int = 0
    elsewhere: int = 0


def manifest_counts(run: LabelingRun) -> ManifestCounts:
    """Count what is committed of a run's manifest now; a pair that it names twice counts once."""
    assert run.plan is not None
    there = committed_parts(run.data, run.recipe_hash)
    here = [part for part in run.plan.parts if part.name in there]
    far = sum(part.records for part in run.plan.parts if part.name in run.elsewhere) - sum(
        part.records for part in here if part.name in run.elsewhere
    )
    with DataSet.open(run.data) as data:
        samples = samples_of(data, run.recipe_hash, run.plan.record_N)
        named = among("sample_id", samples) | among("part", [part.name for part in here])
        batches = data.light_batches(_COLUMNS.names, among("recipe", [run.recipe_hash]) & named)
        rows = pa.Table.from_batches(batches, _COLUMNS.remove_metadata())
        ended = rows.group_by(_COLUMNS.names).aggregate([([], "count_all")])
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    bad_inputs = 0
    for row in ended.to_pylist():
        statuses[row["status"] or f"failed: {row['reason']}"] += row["count_all"]
        if row["stage"] == INPUT_STAGE:
            bad_inputs += row["count_all"]
        else:
            reasons[row["reason"]] += row["count_all"]
    return ManifestCounts(statuses, reasons, bad_inputs, far)
