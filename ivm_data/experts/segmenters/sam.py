"""Segment Anything (Kirillov et al., 2023, arXiv 2304.02643) as a segmenter, for any transformers SAM checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.segmenters.prompted_masks import MaskConfig, PromptedSegmenter
from ivm_model.model.base_models import computing_in, to_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SamConfig(MaskConfig):
    """Which checkpoint; and how prompts become masks."""


class Sam(PromptedSegmenter[SamConfig]):
    """Segmenter: boxes or foreground points -> masks, one image embedding for all prompts of an image."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__(config)

    def _read(self) -> Any:
        from transformers import SamModel
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        # The PIL processor gives the pixels of the original code; the default one does not.
        return self._from_pretrained(SamModel, SamImageProcessorPil, tokenizer=False)

    def preprocess(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """See `PromptedSegmenter`."""
        inputs = self._processed(image_HWC)
        height, width = inputs["reshaped_input_sizes"][0].tolist()
        return inputs["pixel_values"][0], (height, width)

    def encode(self, pixels: Sequence[torch.Tensor]) -> Iterable[torch.Tensor]:
        """See `PromptedSegmenter`."""
        import torch

        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            pixels_BCHW = to_device(torch.stack(list(pixels)), self._model.device)
            embedded: Iterable[torch.Tensor] = self._model.get_image_embeddings(pixels_BCHW).float().split(1)
            return embedded

    def decode(
        self, embedding: torch.Tensor, prompts_NP2: torch.Tensor, is_box: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptedSegmenter`."""
        prompt = prompts_NP2.to(self._model.device)[None]
        kind = {"input_boxes": prompt.flatten(2)} if is_box else {"input_points": prompt}
        return self._decoded(embedding, multimask_output=not is_box, **kind)

    def decode_joined(
        self, embedding: torch.Tensor, points_P2: torch.Tensor, wanted_P: torch.Tensor, corners_22: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptedSegmenter`."""
        device = self._model.device
        kind = {"input_points": points_P2.to(device)[None, None], "input_labels": wanted_P.to(device)[None, None]}
        if corners_22 is not None:
            kind["input_boxes"] = corners_22.to(device).reshape(1, 1, 4)
        return self._decoded(embedding, multimask_output=False, **kind)

    @property
    def _ambiguous_masks(self) -> int:
        return int(self._model.config.mask_decoder_config.num_multimask_outputs)

    def _decoded(self, embedding: torch.Tensor, **prompt: Any) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        with torch.inference_mode():
            out = self._model(image_embeddings=embedding, **prompt)
        return out.pred_masks[0], out.iou_scores[0]

    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """See `PromptedSegmenter`."""
        logits_N1HW: torch.Tensor = self._processor.post_process_masks(
            [logits_N1hw], [original_hw], [resized_hw], binarize=False
        )[0]
        return logits_N1HW
