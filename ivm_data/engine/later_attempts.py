"""Rows that take the place of others: outcomes that differ from what counts, as parts of a later attempt."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ivm_data.engine.recordings import TRACK
from storage.data_set import DataSet
from storage.reading.reader import among
from storage.records import MISSING, Input, Label, PartResult, Rejection, Timing

_ATTEMPT = re.compile(r"@(\d+)$")


def changed(
    data: DataSet, judged: Collection[str], carried: Sequence[Label | Rejection], parts: Mapping[str, str]
) -> tuple[dict[str, list[Label | Rejection]], int]:
    """Outcomes that differ from the row that counts, by its part; and how many rows stay since a person judged them.

    Args:
        judged: sample ids that stay as they are.
        parts: of each sample id the part of the row that counts.
    """
    names = [one.sample.id if isinstance(one, Label) else one.sample_id for one in carried]
    masks = data.masks(names)
    columns = ["sample_id", "consistency", "tracked_from"]
    rows = {
        row["sample_id"]: row
        for batch in data.light_batches(columns, among("sample_id", names))
        for row in batch.to_pylist()
    }
    new: dict[str, list[Label | Rejection]] = defaultdict(list)
    for name, one in zip(names, carried, strict=True):
        is_same = isinstance(one, Label) and one.mask == masks[name] and _says_the_same(one, rows[name])
        if name not in judged and not is_same:
            new[parts[name]].append(one)
    return dict(new), len(set(judged).intersection(names))


def _says_the_same(label: Label, row: Mapping[str, Any]) -> bool:
    known = MISSING if row["consistency"] is None else row["consistency"]
    return label.tracked_from == tuple(row["tracked_from"] or ()) and bool(
        np.isclose(label.scores.consistency, known, rtol=0, atol=1e-6, equal_nan=True)
    )


def later_attempts(
    data: DataSet, new: Mapping[str, list[Label | Rejection]], seconds: float, stage: str = TRACK
) -> Iterator[PartResult]:
    """Rows of a part as a later attempt of it, with the records that they stand for; `stage` took the seconds."""
    latest: dict[str, int] = defaultdict(int)
    for owner, part in data.light_of:
        if owner == data.recipe:
            base, attempt = attempt_of(part)
            latest[base] = max(latest[base], attempt)
    of_base: dict[str, list[tuple[str, list[Label | Rejection]]]] = defaultdict(list)
    for part, outcomes in new.items():
        of_base[attempt_of(part)[0]].append((part, outcomes))
    for base, found in sorted(of_base.items()):
        name = f"{base}@{latest[base] + 1}"
        outcomes = [outcome for _, some in found for outcome in some]
        inputs = [one for part, some in found for one in _inputs(data, part, some)]
        timing = Timing(name, data.recipe, stage, seconds / len(of_base), len(outcomes))
        yield PartResult(name, data.recipe, tuple(outcomes), (timing,), tuple(inputs))


def attempt_of(part: str) -> tuple[str, int]:
    """Name of a part as it was planned, and how often its pairs were labeled before."""
    found = _ATTEMPT.search(part)
    return (part[: found.start()], int(found[1])) if found else (part, 0)


def _inputs(data: DataSet, part: str, outcomes: Sequence[Label | Rejection]) -> list[Input]:
    """The records that rows of a part stand for."""
    names = [one.sample.id if isinstance(one, Label) else one.sample_id for one in outcomes]
    where = among("recipe", [data.recipe]) & among("part", [part]) & among("sample_id", names)
    columns = [one.name for one in fields(Input)]
    paths = [path for path in data.files("inputs") if path.parent.name == data.recipe]
    rows = [row for path in paths for row in pq.read_table(path, columns=columns, filters=where).to_pylist()]
    return [Input(**row | {"replaces": ""}) for row in rows if not row["duplicate"]]
