"""How large a picture a model sees: what its processor resizes every picture to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ivm_model.model.base_models import load_part
from storage.common.validation import Checked, Count
from storage.errors import ConfigError

_PIXELS = 50_000
"""An edge this long is none: Qwen's processors write numbers of pixels there."""


@dataclass(frozen=True)
class InputSize(Checked):
    """What a model's processor makes of pictures.

    Attributes:
        short: pixels that the shorter side is resized to.
        long: pixels that the longer side then has at most; of a square input the same as `short`.
    """

    short: Count
    long: Count

    def scale(self, size: tuple[int, int]) -> float:
        """Pixels that the model sees for each pixel of a picture of (height, width) `size`; above 1 it is enlarged."""
        return min(self.short / min(size), self.long / max(size))

    def within(self, max_pixels: int) -> InputSize:
        """The same, of pictures that have at most so many pixels."""
        side = math.isqrt(max_pixels)
        return InputSize(min(self.short, side), min(self.long, side))


def checkpoint_input(path: str, revision: str = "") -> InputSize:
    """The input size of a transformers checkpoint, by the file of its image processor; no weights are read.

    Raises:
        WeightsError: the file is missing or torn.
        ConfigError: it names no size.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    class Processor:
        from_pretrained = staticmethod(ImageProcessingMixin.get_image_processor_dict)

    values = load_part(Processor, path, {"revision": revision} if revision else {})[0]
    size = _size(values)
    if size is None:
        raise ConfigError(f"the image processor of {path!r} names no size; give 'tiles.side' in pixels")
    return size


def _size(values: dict[str, Any]) -> InputSize | None:
    size = values.get("size") or {}
    if isinstance(size, int):
        return InputSize(size, size)
    kept = values.get("crop_size") if values.get("do_center_crop") else None
    edges = kept if isinstance(kept, dict) and "height" in kept else size
    if "height" in edges and "width" in edges:
        side = min(edges["height"], edges["width"])
        return InputSize(side, side)
    edges = {name: edge for name in ("shortest_edge", "longest_edge") if (edge := size.get(name))}
    if not edges:
        return None
    if max(edges.values()) >= _PIXELS:
        return InputSize(*(math.isqrt(max(edges.values())),) * 2)
    return InputSize(min(edges.values()), max(edges.values()))
