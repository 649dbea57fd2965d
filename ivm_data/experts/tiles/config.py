"""When a picture is parted, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from ivm_data.experts.common.input_size import InputSize
from storage.common.validation import Checked, Natural, at_least, within
from storage.pixels.windows import Window, tiles


@dataclass(frozen=True)
class TilesConfig(Checked):
    """How a picture is parted that is larger than the model sees.

    Attributes:
        side: of a tile in pixels of the picture; 0 for the shorter side of the model's own input.
        overlap: of neighbouring tiles, as a share of their side, at least: a thing no longer lies whole in one.
        shrink: a picture is parted where the model sees it smaller by more than this factor.
        most: tiles of a picture; of one that needs more they are larger, and the model sees them smaller.
    """

    side: Natural = 0
    overlap: Annotated[float, within("[0, 0.9]")] = 0.25
    shrink: Annotated[float, at_least(1)] = 1.25
    most: Annotated[int, at_least(4)] = 150

    def sees(self, model: InputSize) -> InputSize:
        """What of a picture is seen as it is: `side`, or the model's own input."""
        return InputSize(self.side, self.side) if self.side else model

    def is_seen(self, size: tuple[int, int], model: InputSize) -> bool:
        """Whether the model sees a picture of (height, width) `size` large enough as it is."""
        return self.shrink * self.sees(model).scale(size) >= 1

    def parts(self, size: tuple[int, int], model: InputSize) -> Parts:
        """The tiles of a picture of (height, width) `size`; none of one that is seen large enough."""
        if self.is_seen(size, model):
            return Parts((), 0.0)
        side = self.sees(model).short
        while len(windows := tiles(size, side, self.overlap)) > self.most:
            side = math.ceil(side * _GROWTH)
        return Parts(tuple(windows), self.overlap * side)


_GROWTH = 1.05


@dataclass(frozen=True)
class Parts:
    """The tiles of a picture.

    Attributes:
        longest: pixels of the longest thing that is sure to lie whole in one of them.
    """

    windows: tuple[Window, ...]
    longest: float
