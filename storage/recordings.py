"""The labels of a recording: the frames of a camera of an episode that are asked for the same thing, in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from storage.data_set import DataSet
from storage.reading.reader import among

Recording = tuple[str, str, str, str]
"""Source, episode, camera and instruction."""

_COLUMNS = ("part", "sample_id", "outcome", "status", "source", "episode", "camera", "instruction", "frame")


@dataclass(frozen=True)
class FrameLabel:
    """A label of a frame.

    Attributes:
        is_key: experts made its mask of the image itself; else it was carried.
    """

    part: str
    sample_id: str
    frame: int
    status: str
    is_key: bool


def recordings(data: DataSet, episodes: Iterable[str]) -> dict[Recording, list[FrameLabel]]:
    """The labels of each recording of these episodes, in the order of time."""
    found: dict[Recording, list[FrameLabel]] = defaultdict(list)
    where = among("episode", episodes) & among("recipe", [data.recipe])
    for batch in data.light_batches([*_COLUMNS, "tracked_from"], where):
        for row in batch.to_pylist():
            if row["outcome"] == "label" and row["frame"] is not None:
                recording = row["source"], row["episode"], row["camera"] or "", row["instruction"]
                is_key = not row["tracked_from"]
                one = FrameLabel(row["part"], row["sample_id"], row["frame"], row["status"], is_key)
                found[recording].append(one)
    return {name: sorted(rows, key=lambda one: (one.frame, one.sample_id)) for name, rows in found.items()}
