"""Labels with their images decoded: the one on the page, the next ones, and some to go back to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from storage.pixels.images import BATCH_PIXELS, decode
from storage.records import Label

_KEPT = 24
"""Labels kept decoded; fewer where their images are huge."""

Key = tuple[str, str]
"""Part and sample id."""


@dataclass(frozen=True, eq=False)
class ShownLabel:
    """A label with its decoded image, HWC uint8 RGB."""

    label: Label
    image_HWC: np.ndarray


class ShownLabels:
    """Decodes a label once, from whichever thread.

    Args:
        find: reads a label; raises where there is none.
    """

    def __init__(self, find: Callable[[str, str], Label]) -> None:
        self._find = find
        self._kept: OrderedDict[Key, ShownLabel] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, part: str, sample_id: str) -> ShownLabel:
        """The label, decoded by now or before."""
        key = part, sample_id
        with self._lock:
            if key not in self._kept:
                label = self._find(part, sample_id)
                self._kept[key] = ShownLabel(label, decode(label.sample.image))
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and (len(self._kept) > _KEPT or self._pixels() > BATCH_PIXELS):
                self._kept.popitem(last=False)
            return self._kept[key]

    def forget(self) -> None:
        """Read all labels anew: others may count by now."""
        with self._lock:
            self._kept.clear()

    def _pixels(self) -> int:
        return sum(shown.image_HWC.shape[0] * shown.image_HWC.shape[1] for shown in self._kept.values())
