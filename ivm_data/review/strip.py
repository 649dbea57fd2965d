"""The labels of an episode beside one of them, in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.data_set import DataSet
from storage.recordings import FrameLabel, recordings
from storage.records import Label

REACH = 6
"""Labels to each side."""


@dataclass(frozen=True)
class Strip:
    """Labels in the order of time.

    Attributes:
        tracks: some label of the episode has a mask that was carried from others.
    """

    steps: Sequence[FrameLabel] = ()
    tracks: bool = False


def strip(data: DataSet, label: Label, reach: int = REACH) -> Strip:
    """Up to `reach` labels before a label and behind it; empty for a still."""
    moment = label.sample.moment
    if moment is None or moment.frame is None:
        return Strip()
    recording = label.sample.source, moment.episode, moment.camera, label.sample.instruction
    steps = recordings(data, [moment.episode])[recording]
    at = [one.sample_id for one in steps].index(label.sample.id)
    return Strip(steps[max(at - reach, 0) : at + reach + 1], not all(one.is_key for one in steps))
