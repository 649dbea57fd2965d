"""How image and instruction reach the two base models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ivm_model.model.base_models import Dtype
from storage.common.validation import Checked, Natural
from storage.errors import ConfigError


@dataclass(frozen=True)
class InputConfig(Checked):
    """What the base models are shown.

    Attributes:
        frame: "pad" keeps the aspect ratio and pads to SAM's square; "stretch" resizes to that square, for both models,
            as the release of IVM does.
        prompt: the whole prompt, with {image} and {text} where they go; "" means the LMM's own chat template.
        dtype: of the LMM's frozen weights; its LoRA and all outputs stay float32.
        grid: tokens along each side of an image that a Qwen-VL sees, 0 for 24; a LLaVA's own processor decides.
    """

    frame: Literal["pad", "stretch"] = "pad"
    prompt: str = ""
    dtype: Dtype = "float32"
    grid: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt and not (self.prompt.count("{image}") == self.prompt.count("{text}") == 1):
            raise ConfigError(f"'prompt' must hold {{image}} and {{text}} once each, got {self.prompt!r}")

    def in_dtype(self, dtype: str) -> InputConfig:
        """The same with another dtype by its name; "" leaves it.

        Raises:
            ConfigError: there is no such dtype.
        """
        changes: dict[str, Any] = {"dtype": dtype} if dtype else {}
        return replace(self, **changes)


AS_TRAINED = InputConfig()
"""The default: padded, in the LMM's own words."""


def fit(image_HWC: np.ndarray, side: int, frame: str) -> np.ndarray:
    """The image as both base models may be given it.

    A padded frame needs no change, but for an image so thin that SAM's own preprocessing would round its shorter side
    to zero pixels: it gets one pixel there.

    Args:
        image_HWC: uint8 RGB.
        side: of SAM's square input in pixels.
    """
    from PIL import Image

    height, width = image_HWC.shape[:2]
    if frame == "stretch":
        return np.asarray(Image.fromarray(image_HWC).resize((side, side), Image.Resampling.BICUBIC))
    if 2 * min(height, width) * side >= max(height, width):
        return image_HWC
    size = (side, 1) if width > height else (1, side)
    return np.asarray(Image.fromarray(image_HWC).resize(size, Image.Resampling.BICUBIC))
