"""What the pairs of a manifest ended as, over every run that labeled them: asked of the data set, not of one run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ivm_data.engine.labeling_run import LabelingRun
from storage.data_set import DataSet
from storage.ledger import ended_as
from storage.parts.shards import committed_parts
from storage.records import INPUT_STAGE


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
        ended = ended_as(data, run.recipe_hash, run.plan.record_N, [part.name for part in here])
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    bad_inputs = 0
    for row in ended.to_pylist():
        statuses[row["status"] or f"failed: {row['reason']}"] += row["inputs"]
        if row["stage"] == INPUT_STAGE:
            bad_inputs += row["inputs"]
        else:
            reasons[row["reason"]] += row["inputs"]
    return ManifestCounts(statuses, reasons, bad_inputs, far)
