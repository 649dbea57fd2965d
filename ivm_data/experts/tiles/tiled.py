"""An expert that sees large pictures in parts: what the option `tiles` of a recipe's expert makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivm_data.config import build, coerce
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import Detection, Segmentation
from ivm_data.experts.tiles.boxes import ground_tiled
from ivm_data.experts.tiles.config import TilesConfig
from ivm_data.experts.tiles.crops import segment_tiled
from ivm_data.experts.tiles.masks import propose_tiled
from storage.errors import ConfigError
from storage.records import Box
from storage.request import Request

VERBS = ("ground", "propose", "segment")
"""What can be asked of parts of a picture; an expert has one of them, or two."""
NMS_IOU = 0.6
"""Of an expert whose config does not say from which overlap on two boxes are one."""


class Tiled:
    """The expert that it stands for, with `VERBS` asked of parts of large pictures too.

    Its name is that expert's, so that what was calibrated for it holds: what tells the two apart is the recipe's hash.
    Whatever else the expert has is passed on; a verb that it lacks is lacking here too.

    Args:
        expert: the one that is asked.
    """

    def __init__(self, expert: Any, config: TilesConfig) -> None:
        self.expert, self.tiles = expert, config

    def __getattr__(self, name: str) -> Any:
        if name in ("expert", "tiles"):
            raise AttributeError(name)
        found = getattr(self.expert, name)
        return getattr(self, f"_{name}") if name in VERBS else found

    @property
    def model(self) -> InputSize:
        """What the expert sees.

        Raises:
            ConfigError: it does not say, and the option `tiles.side` is not given.
        """
        return input_of(self.expert, self.tiles)

    def _ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        nms_iou = getattr(getattr(self.expert, "config", None), "nms_iou", NMS_IOU)
        return ground_tiled(self.expert, images, phrases, self.tiles, self.model, nms_iou=nms_iou)

    def _propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        return propose_tiled(self.expert, images, requests, self.tiles, self.model)

    def _segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        return segment_tiled(self.expert, images, boxes, self.tiles, self.model)


def input_of(expert: Any, config: TilesConfig) -> InputSize:
    """What an expert sees of a picture: its own `input_size`, or `side` where that is given.

    Raises:
        ConfigError: neither is known.
    """
    if config.side:
        return InputSize(config.side, config.side)
    found = getattr(expert, "input_size", None)
    if not isinstance(found, InputSize):
        raise ConfigError(f"{expert.name} does not say how large a picture it sees; give 'tiles.side' in pixels")
    return found


def tiles_of(expert: str, value: Any) -> TilesConfig | None:
    """The option `tiles` of an expert: true, false or the fields of `TilesConfig`, plain or as text.

    Raises:
        ConfigError: it is none of these.
    """
    where = f"expert {expert!r}.tiles"
    if value in (True, "true"):
        return TilesConfig()
    if value in (None, False, "false"):
        return None
    if isinstance(value, str):
        found: TilesConfig = coerce(TilesConfig, value, where)
        return found
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{where} must be true, false, or have fields of its own: side, overlap, shrink, most; got {value!r}"
        )
    made: TilesConfig = build(TilesConfig, value, where)
    return made
