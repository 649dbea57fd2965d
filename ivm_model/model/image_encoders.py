"""Frozen image encoders of the SAM family: images in, one map for the mask decoder out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ivm_model.model.base_models import check_directory, load_model, load_part
from storage.errors import ConfigError, WeightsError

_CLASSES = {
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
}
"""By model type; released checkpoints of SAM 2 and SAM 3 call themselves videos, and only their images are used."""


def load_sam(path: str) -> Any:
    """A frozen transformers SAM, SAM 2 or SAM 3 tracker.

    Raises:
        WeightsError: the checkpoint cannot be read, or is of another kind.
    """
    import transformers

    check_directory(path, tuple(_CLASSES))
    kind = load_part(transformers.AutoConfig, path).model_type
    if kind not in _CLASSES:
        raise WeightsError(f"{path!r} holds a {kind!r} model; 'sam' must be one of {', '.join(_CLASSES)}")
    model, _ = load_model(getattr(transformers, _CLASSES[kind]), path, also=tuple(_CLASSES))
    return model.requires_grad_(False)


def is_sam2(sam: Any) -> bool:
    """Whether a mask decoder of this SAM also takes finer maps, as those of SAM 2 and SAM 3 do."""
    return hasattr(sam.mask_decoder, "conv_s0")


def encoder_of(sam: Any, path: str, frame: str) -> SamEncoder | Sam2Encoder:
    """The image encoder of a loaded SAM, which is taken apart.

    Args:
        path: where its processor lies.
        frame: see `InputConfig`.

    Raises:
        ConfigError: this SAM does not see images in that frame.
    """
    if not is_sam2(sam):
        return SamEncoder(sam, path)
    if frame != "stretch":
        raise ConfigError(
            f"'inputs.frame' must be 'stretch' with the {sam.config.model_type!r} model in {path!r}, got {frame!r}: "
            "SAM 2 and SAM 3 see every image as a square"
        )
    return Sam2Encoder(sam, path)


class SamEncoder(nn.Module):
    """SAM (arXiv 2304.02643): the image padded to a square, seen as one map.

    Attributes:
        side: of the square input in pixels.
        shape: of an image's map, CHW.
    """

    def __init__(self, sam: Any, path: str) -> None:
        super().__init__()
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        self.vision = sam.vision_encoder
        # The PIL processor gives the pixels of the original code; the default one does not.
        self._processor = load_part(SamImageProcessorPil, path)
        self.side = int(self._processor.pad_size["height"])
        config = self.vision.config
        grid = config.image_size // config.patch_size
        self.shape = (config.output_channels, grid, grid)

    def forward(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """sam_BCHW of HWC uint8 RGB images."""
        sam_BCHW: torch.Tensor = self.vision(_pixels(self._processor, images, self.vision)).last_hidden_state
        return sam_BCHW


class Sam2Encoder(nn.Module):
    """SAM 2 (arXiv 2408.00714) and SAM 3's tracker: the image as a square, seen as three maps, packed as one.

    The finer two are packed without loss: `unpack` gives all three back. Attributes as of `SamEncoder`.
    """

    def __init__(self, sam: Any, path: str) -> None:
        super().__init__()
        from transformers import AutoImageProcessor

        self._processor = load_part(AutoImageProcessor, path)
        self.side = int(self._processor.size["height"])
        (height, width), channels = sam.backbone_feature_sizes[-1], sam.hidden_dim
        self.shape = (4 * channels, height, width)
        # Of the rest only two convolutions see the image.
        sam.prompt_encoder = sam.shared_image_embedding = None
        for name, _ in list(sam.mask_decoder.named_children()):
            if name not in ("conv_s0", "conv_s1"):
                setattr(sam.mask_decoder, name, None)
        self.sam = sam

    def forward(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """sam_BCHW of HWC uint8 RGB images, packed."""
        fine, middle, coarse = self.sam.get_image_embeddings(_pixels(self._processor, images, self.sam))
        return torch.cat([coarse, functional.pixel_unshuffle(middle, 2), functional.pixel_unshuffle(fine, 4)], 1)


def unpack(packed_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What `Sam2Encoder` packed: coarse_BCHW, then [fine, middle] of four and two times its resolution."""
    quarter = packed_BCHW.shape[1] // 4
    coarse_BCHW, middle_BCHW, fine_BCHW = packed_BCHW.split([quarter, quarter, 2 * quarter], 1)
    return coarse_BCHW, [functional.pixel_shuffle(fine_BCHW, 4), functional.pixel_shuffle(middle_BCHW, 2)]


def _pixels(processor: Any, images: Sequence[np.ndarray], model: nn.Module) -> torch.Tensor:
    pixels_BCHW: torch.Tensor = processor(images=list(images), return_tensors="pt", input_data_format="channels_last")[
        "pixel_values"
    ]
    return pixels_BCHW.to(next(model.parameters()).device)
