"""Segment Anything (Kirillov et al., 2023, arXiv 2304.02643) as a segmenter, for any transformers SAM checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.segmenters.prompted_masks import MaskConfig, PromptedSegmenter
from ivm_model.model.base_models import checkpoint_name, computing_in, load_model, load_part, to_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SamConfig(MaskConfig):
    """Where the checkpoint lies; and how prompts become masks.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
    """

    path: str
    revision: str = ""


class Sam(PromptedSegmenter):
    """Segmenter: boxes or foreground points -> masks, one image embedding for all prompts of an image."""

    config: SamConfig

    def __init__(self, config: SamConfig) -> None:
        super().__init__(config)
        self.config = config
        self._model: Any = None
        self._processor: Any = None

    @property
    def name(self) -> str:
        """`model@revision`."""
        return checkpoint_name(self.config.path, self.config.revision)

    def load(self) -> None:
        """Read the weights; does nothing the second time."""
        if self._model is not None:
            return
        from transformers import SamModel
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        config = self.config
        model, source = load_model(SamModel, config.path, config.revision, config.device)
        # The PIL processor gives the pixels of the original code; the default one does not.
        self._processor = load_part(SamImageProcessorPil, config.path, source)
        self._model = model

    def preprocess(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """See `PromptedSegmenter`."""
        inputs = self._processor(images=image_HWC, return_tensors="pt", input_data_format="channels_last")
        height, width = inputs["reshaped_input_sizes"][0].tolist()
        return inputs["pixel_values"][0], (height, width)

    def encode(self, pixels: Sequence[torch.Tensor]) -> Iterable[torch.Tensor]:
        """See `PromptedSegmenter`."""
        import torch

        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            pixels_BCHW = to_device(torch.stack(list(pixels)), self._model.device)
            return self._model.get_image_embeddings(pixels_BCHW).float().split(1)

    def decode(
        self, embedding: torch.Tensor, prompts_NP2: torch.Tensor, is_box: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptedSegmenter`."""
        import torch

        prompt = prompts_NP2.to(self._model.device)[None]
        kind = {"input_boxes": prompt.flatten(2)} if is_box else {"input_points": prompt}
        with torch.inference_mode():
            out = self._model(image_embeddings=embedding, multimask_output=not is_box, **kind)
        return out.pred_masks[0], out.iou_scores[0]

    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """See `PromptedSegmenter`."""
        return self._processor.post_process_masks([logits_N1hw], [original_hw], [resized_hw], binarize=False)[0]
