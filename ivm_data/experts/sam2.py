"""SAM 2 (Ravi et al., 2024, arXiv 2408.00714) as a segmenter of single images, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts import prompted_masks
from ivm_data.experts.base import Segmentation
from ivm_data.experts.sam import SamConfig
from ivm_model.base_models import checkpoint_name, load_model, load_part
from storage.records import Box

if TYPE_CHECKING:
    import torch


class Sam2:
    """Segmenter: boxes or foreground points -> masks, one image embedding for all prompts of an image."""

    def __init__(self, config: SamConfig) -> None:
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
        from transformers import Sam2ImageProcessor, Sam2Model

        config = self.config
        # Released checkpoints call themselves "sam2_video".
        model, source = load_model(
            Sam2Model, config.path, config.revision, config.device, config.dtype, also=("sam2_video",)
        )
        self._processor = load_part(Sam2ImageProcessor, config.path, source)
        self._model = model

    def segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        """A mask for each box of each image, from the single-mask token, or the best other one where it is unstable."""
        prompted_masks.check_lengths(images, boxes)
        self.load()
        return prompted_masks.segment(self, images, prompted_masks.corners(boxes), True, self.config)

    def segment_points(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> list[Segmentation]:
        """A mask for each foreground point: of the ambiguity-aware masks the one with the best predicted IoU."""
        prompted_masks.check_lengths(images, points)
        self.load()
        return prompted_masks.segment(self, images, prompted_masks.foreground(points), False, self.config)

    def embed(self, images: Sequence[np.ndarray]) -> Iterator[tuple[Any, tuple[int, int]]]:
        """See `PromptModel`; the embedding is a list of feature maps (1, C, h, w) from fine to coarse."""
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            maps = self._model.get_image_embeddings(inputs["pixel_values"].to(self._model.device, self._model.dtype))
        size = self._processor.size
        for k in range(len(images)):
            # SAM 2 stretches the image to a square; it does not pad it as SAM does.
            yield [map_BChw[k : k + 1] for map_BChw in maps], (size["height"], size["width"])

    def decode(self, embedding: Any, prompts_NP2: torch.Tensor, is_box: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptModel`."""
        import torch

        prompt = prompts_NP2.to(self._model.device, self._model.dtype)[None]
        kind = {"input_boxes": prompt.flatten(2)} if is_box else {"input_points": prompt}
        with torch.inference_mode():
            out = self._model(image_embeddings=embedding, multimask_output=not is_box, **kind)
        return out.pred_masks[0], out.iou_scores[0]

    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """See `PromptModel`."""
        return self._processor.post_process_masks([logits_N1hw], [original_hw], binarize=False)[0]
