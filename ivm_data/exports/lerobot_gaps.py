"""What becomes of an episode's frames that were not labeled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from ivm_data.experts.common.protocols import Tracker
from ivm_data.experts.common.tracks import track
from ivm_data.experts.registry import spec_of, tracker
from storage.pixels import rle
from storage.records import Rle

Gaps = Literal["omit", "show", "hide", "track"]


@dataclass(frozen=True)
class Fill:
    """See `ivm_data.exports.lerobot.LerobotOptions`."""

    gaps: Gaps
    tracker: str
    consistency: float

    def __post_init__(self) -> None:
        if self.gaps == "track":
            _ = self._expert

    @cached_property
    def _expert(self) -> Tracker:
        return tracker(spec_of(self.tracker))

    def filled(self, masks: Mapping[int, Rle], length: int, frame: Callable[[int], np.ndarray]) -> dict[int, Rle]:
        """The masks of an episode, with those that are carried to frames between the labeled ones.

        Frames are read from one labeled frame to the next one, so that no more of an episode lies in memory.

        Args:
            masks: by frame, at least one.
            length: frames of the episode.
            frame: gives one of them.

        Raises:
            ValueError: frames without a mask that must have one, or masks that are not consistent enough.
        """
        if not masks:
            raise ValueError(f"none of its {length} frames has a mask")
        if len(masks) == length or self.gaps in ("show", "hide"):
            return dict(masks)
        if self.gaps == "omit":
            raise ValueError(
                f"{length - len(masks)} of its {length} frames have no mask; label them (ivm import lerobot --set "
                "every=1), or give --set gaps=track, show or hide"
            )
        found = dict(masks)
        edges = sorted({0, *masks, length - 1})
        for first, last in pairwise(edges):
            if last - first > 1 or first not in masks or last not in masks:
                found |= self._between(masks, first, last, frame)
        return found

    def _between(
        self, masks: Mapping[int, Rle], first: int, last: int, frame: Callable[[int], np.ndarray]
    ) -> dict[int, Rle]:
        images = [frame(number) for number in range(first, last + 1)]
        keys = {number - first: rle.decode(masks[number]) for number in (first, last) if number in masks}
        found = track(self._expert, images, keys)
        least = min((one.consistency for one in found[1:-1]), default=np.nan)
        if least < self.consistency:
            raise ValueError(
                f"masks carried to frames {first} to {last} from both sides overlap by {least:.2f} only, less than "
                f"{self.consistency}; label more frames between"
            )
        return {first + step: rle.encode(one.mask_HW) for step, one in enumerate(found) if step not in keys}
