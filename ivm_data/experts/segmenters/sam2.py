"""SAM 2 (Ravi et al., 2024, arXiv 2408.00714) as a segmenter of single images, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.segmenters.sam import Sam
from ivm_model.model.base_models import computing_in, to_device

if TYPE_CHECKING:
    import torch


class Sam2(Sam):
    """Segmenter, prompted as SAM is; the single mask of a box gives way to the best other one where it is unstable."""

    def _read(self) -> Any:
        from transformers import Sam2ImageProcessor, Sam2Model

        # Released checkpoints call themselves "sam2_video".
        return self._from_pretrained(Sam2Model, Sam2ImageProcessor, tokenizer=False, also=("sam2_video",))

    def preprocess(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """See `PromptedSegmenter`; SAM 2 stretches the image to a square, it does not pad it as SAM does."""
        return self._pixels(image_HWC), (self._processor.size["height"], self._processor.size["width"])

    def encode(self, pixels: Sequence[torch.Tensor]) -> Iterable[Any]:
        """See `PromptedSegmenter`; the embedding is a list of feature maps (1, C, h, w) from fine to coarse."""
        import torch

        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            maps = self._model.get_image_embeddings(to_device(torch.stack(list(pixels)), self._model.device))
            return zip(*(map_BChw.float().split(1) for map_BChw in maps), strict=True)

    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """See `PromptedSegmenter`."""
        logits_N1HW: torch.Tensor = self._processor.post_process_masks([logits_N1hw], [original_hw], binarize=False)[0]
        return logits_N1HW
