"""How each family of LMMs is shown an image: what its vision tower sees, and how that enters the language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from ivm_model.model.inputs import InputConfig
from storage.errors import ConfigError, WeightsError

GRID = 24
"""Tokens along each side of a Qwen-VL's image where `InputConfig.grid` leaves it: as many as LLaVA-1.5 has."""
_WHY_NOT = {
    "smolvlm": "an image becomes 8 x 8 tokens, too coarse to point with, or tiles whose tokens are no one grid",
    "idefics3": "its tokens of a tiled image are no one grid",
    "llava_next": "its tokens of a tiled image are no one grid",
    "llava_onevision": "its tokens of a tiled image are no one grid",
}


class LmmImages(Protocol):
    """The images of one family."""

    def see(self, model: Any, processor: Any, images: Sequence[np.ndarray]) -> torch.Tensor:
        """What the vision tower makes of HWC uint8 RGB images, vision_BTC, in the dtype of the model."""
        ...

    def given(self, vision_BTC: torch.Tensor, is_image_BL: torch.Tensor) -> dict[str, Any]:
        """What the model is given of it beside the tokens, of which `is_image_BL` stand for an image's."""
        ...


class _Seen(NamedTuple):
    """The part of a vision tower's output that transformers reads: features of each image, more of them by layer."""

    pooler_output: list[torch.Tensor]
    deepstack_features: list[list[torch.Tensor]]


class Llava:
    """LLaVA (arXiv 2310.03744): a square of the processor's size."""

    def see(self, model: Any, processor: Any, images: Sequence[np.ndarray]) -> torch.Tensor:
        """See `LmmImages`."""
        pixels_BCHW = processor.image_processor(
            images=[_square(image) for image in images], return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"].to(model.device, model.dtype)
        return torch.stack(list(model.get_image_features(pixel_values=pixels_BCHW).pooler_output))

    def given(self, vision_BTC: torch.Tensor, is_image_BL: torch.Tensor) -> dict[str, Any]:
        """See `LmmImages`."""
        return {"mm_encoder_outputs": {"image": _Seen(list(vision_BTC), [])}}


class QwenVl:
    """Qwen2.5-VL (arXiv 2502.13923) and Qwen3-VL (arXiv 2511.21631): a square of a size of ours.

    Qwen3-VL also adds features of earlier layers of the tower to its first layers; they lie behind the last layer's in
    the channels of vision_BTC.

    Args:
        config: of the model.
        grid: tokens along each side of an image.
    """

    def __init__(self, config: Any, grid: int) -> None:
        self.channels: int = config.get_text_config().hidden_size
        self.patches: int = grid * config.vision_config.spatial_merge_size

    def see(self, model: Any, processor: Any, images: Sequence[np.ndarray]) -> torch.Tensor:
        """See `LmmImages`."""
        side = self.patches * processor.image_processor.patch_size
        inputs = processor.image_processor(
            images=[_resized(_square(image), side) for image in images],
            do_resize=False,
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(model.device)
        seen = model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
        layers = [seen.pooler_output, *(getattr(seen, "deepstack_features", None) or [])]
        return torch.cat([torch.stack(list(layer)) for layer in layers], 2)

    def given(self, vision_BTC: torch.Tensor, is_image_BL: torch.Tensor) -> dict[str, Any]:
        """See `LmmImages`."""
        last, *earlier = (list(layer_BTC) for layer_BTC in vision_BTC.split(self.channels, 2))
        grid_3 = torch.tensor([1, self.patches, self.patches], device=vision_BTC.device)
        return {
            "mm_encoder_outputs": {"image": _Seen(last, earlier)},
            "image_grid_thw": grid_3.expand(len(vision_BTC), 3),
            "mm_token_type_ids": is_image_BL.int(),
        }


def images_of(config: Any, path: str, inputs: InputConfig) -> LmmImages:
    """How the LMM with this transformers config is shown images.

    Raises:
        WeightsError: its family is not supported.
        ConfigError: an option does not go with it.
    """
    kind = config.model_type
    if kind == "llava":
        if inputs.grid:
            raise ConfigError(
                f"'inputs.grid' is for a Qwen-VL, and {path!r} is a LLaVA, whose processor decides; leave it 0"
            )
        return Llava()
    if kind in ("qwen2_5_vl", "qwen3_vl"):
        return QwenVl(config, inputs.grid or GRID)
    why = f": {_WHY_NOT[kind]}" if kind in _WHY_NOT else ""
    raise WeightsError(
        f"{path!r} holds a {kind!r} model, which cannot prompt the mask decoder{why}; 'lmm' must be a llava, "
        "qwen2_5_vl or qwen3_vl, for example Qwen/Qwen3-VL-2B-Instruct"
    )


def _square(image_HWC: np.ndarray) -> np.ndarray:
    """Padded on the right and at the bottom, as SAM pads: both models share a frame, and no crop loses anything."""
    height, width = image_HWC.shape[:2]
    side = max(height, width)
    return np.pad(image_HWC, ((0, side - height), (0, side - width), (0, 0)), constant_values=255)


def _resized(image_HWC: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image_HWC).resize((side, side), Image.Resampling.BICUBIC))
