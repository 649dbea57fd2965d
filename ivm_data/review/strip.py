"""The labels of an episode beside one of them, in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.data_set import DataSet
from storage.reading.reader import among
from storage.records import Label

REACH = 6
"""Labels to each side."""

_COLUMNS = ["part", "sample_id", "outcome", "status", "source", "camera", "instruction", "frame", "tracked_from"]


@dataclass(frozen=True)
class Step:
    """A label of a strip.

    Attributes:
        is_key: experts looked at it; else its mask was carried.
    """

    part: str
    sample_id: str
    frame: int
    status: str
    is_key: bool


@dataclass(frozen=True)
class Strip:
    """Labels in the order of time.

    Attributes:
        tracks: some label of the episode has a mask that was carried from others.
    """

    steps: Sequence[Step] = ()
    tracks: bool = False


def strip(data: DataSet, label: Label, reach: int = REACH) -> Strip:
    """Up to `reach` labels before a label and behind it; empty for a still."""
    moment = label.sample.moment
    if moment is None or moment.frame is None:
        return Strip()
    where = among("episode", [moment.episode]) & among("recipe", [data.recipe])
    known = (label.sample.source, moment.camera, label.sample.instruction)
    rows = [
        row
        for batch in data.light_batches([*_COLUMNS], where)
        for row in batch.to_pylist()
        if row["outcome"] == "label" and (row["source"], row["camera"] or "", row["instruction"]) == known
    ]
    rows.sort(key=lambda row: (row["frame"], row["sample_id"]))
    names = [row["sample_id"] for row in rows]
    at = names.index(label.sample.id)
    shown = rows[max(at - reach, 0) : at + reach + 1]
    steps = [Step(row["part"], row["sample_id"], row["frame"], row["status"], not row["tracked_from"]) for row in shown]
    return Strip(steps, any(row["tracked_from"] for row in rows))
