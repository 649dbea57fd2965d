"""Segment Anything (Kirillov et al., 2023, arXiv 2304.02643) as a segmenter, for any transformers SAM checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.base import Segmentation
from ivm_model.base_models import DTYPES, checkpoint_name, load_model, load_part
from storage.records import Box

if TYPE_CHECKING:
    import torch

_PIXELS_PER_CHUNK = 1 << 25
"""Upscaled logits kept at once (128 MiB of float32), so that many prompts on a large photo fit in memory."""


@dataclass(frozen=True)
class SamConfig:
    """Where the checkpoint lies and how it runs.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        device: torch device.
        dtype: of the weights, one of `DTYPES`.
        images_per_batch: images that pass through the image encoder together.
        prompts_per_batch: prompts that pass through the mask decoder together.
        stability_offset: d of the stability score, in logits.
    """

    path: str
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    images_per_batch: int = 8
    prompts_per_batch: int = 64
    stability_offset: float = 1.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        for field in ("images_per_batch", "prompts_per_batch"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, got {getattr(self, field)}")
        if self.stability_offset <= 0:
            raise ValueError(f"stability_offset must be positive, got {self.stability_offset}")


class Sam:
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
        from transformers import SamModel
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        config = self.config
        model, source = load_model(SamModel, config.path, config.revision, config.device, config.dtype)
        # The PIL processor gives the pixels of the original code; the default one does not.
        self._processor = load_part(SamImageProcessorPil, config.path, source)
        self._model = model

    def segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        """A mask for each box of each image, from the single-mask token."""
        corners = [np.array([[b.x0, b.y0, b.x1, b.y1] for b in row], np.float32).reshape(-1, 2, 2) for row in boxes]
        return self._segment(images, corners, "input_boxes")

    def segment_points(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> list[Segmentation]:
        """A mask for each foreground point: of the ambiguity-aware masks the one with the best predicted IoU."""
        rows = [np.asarray(row, np.float32).reshape(-1, 1, 2) for row in points]
        return self._segment(images, rows, "input_points")

    def _segment(self, images: Sequence[np.ndarray], prompts: Sequence[np.ndarray], kind: str) -> list[Segmentation]:
        """`prompts` holds an (N, corners or points, 2) array of (x, y) pixels for each image."""
        if len(images) != len(prompts):
            raise ValueError(f"need one list of prompts for each image, got {len(prompts)} for {len(images)} images")
        self.load()
        results = [_empty(image) for image in images]
        asked = [i for i, row in enumerate(prompts) if len(row)]
        for start in range(0, len(asked), self.config.images_per_batch):
            batch = asked[start : start + self.config.images_per_batch]
            for i, (embedding, size_hw) in zip(batch, self._embed([images[i] for i in batch]), strict=True):
                results[i] = self._decode(embedding, images[i].shape[:2], size_hw, prompts[i], kind)
        return results

    def _embed(self, images: Sequence[np.ndarray]) -> Iterator[tuple[torch.Tensor, tuple[int, int]]]:
        """Image embedding (1, C, h, w) and resized (height, width) before padding, for each image."""
        import torch

        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            pixels_BCHW = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            embedding_BCHW = self._model.get_image_embeddings(pixels_BCHW)
        for k, size_hw in enumerate(inputs["reshaped_input_sizes"].tolist()):
            yield embedding_BCHW[k : k + 1], tuple(size_hw)

    def _decode(
        self,
        embedding: torch.Tensor,
        original_hw: tuple[int, int],
        resized_hw: tuple[int, int],
        prompts_NP2: np.ndarray,
        kind: str,
    ) -> Segmentation:
        height, width = original_hw
        scale = np.array([resized_hw[1] / width, resized_hw[0] / height], np.float32)
        step = max(1, min(self.config.prompts_per_batch, _PIXELS_PER_CHUNK // (height * width)))
        parts = []
        for start in range(0, len(prompts_NP2), step):
            logits_N1hw, iou_N = self._prompt(embedding, prompts_NP2[start : start + step] * scale, kind)
            parts.append(self._finish(logits_N1hw, iou_N, original_hw, resized_hw))
        return Segmentation(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _prompt(self, embedding: torch.Tensor, prompts_NP2: np.ndarray, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (N, 1, h, w) and predicted IoU (N,) of the best mask for each prompt."""
        import torch

        prompt = torch.from_numpy(prompts_NP2).to(self._model.device, self._model.dtype)[None]
        is_box = kind == "input_boxes"
        with torch.inference_mode():
            out = self._model(
                image_embeddings=embedding,
                multimask_output=not is_box,
                **{kind: prompt.flatten(2) if is_box else prompt},
            )
        iou_N, best_N = out.iou_scores[0].float().max(dim=1)
        rows = torch.arange(len(best_N), device=best_N.device)
        return out.pred_masks[0][rows, best_N][:, None].float(), iou_N

    def _finish(
        self, logits_N1hw: torch.Tensor, iou_N: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks in the original frame, predicted IoU clipped to [0, 1], stability score."""
        logits_NHW = self._processor.post_process_masks([logits_N1hw], [original_hw], [resized_hw], binarize=False)[0]
        logits_NHW = logits_NHW[:, 0]
        inner_N = (logits_NHW > self.config.stability_offset).sum((1, 2)).float()
        outer_N = (logits_NHW > -self.config.stability_offset).sum((1, 2)).float()
        stability_N = inner_N / outer_N.clamp(min=1)
        return (logits_NHW > 0).cpu().numpy(), iou_N.clamp(0, 1).cpu().numpy(), stability_N.cpu().numpy()


def _empty(image_HWC: np.ndarray) -> Segmentation:
    none = np.zeros(0, np.float32)
    return Segmentation(np.zeros((0, *image_HWC.shape[:2]), bool), none, none)
