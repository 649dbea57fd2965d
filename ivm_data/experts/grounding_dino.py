"""Grounding DINO (Liu et al., 2023, arXiv 2303.05499) as a grounder, for any transformers checkpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.base import Detection
from ivm_data.experts.phrase_score import captions, phrase_spans, span_scores
from ivm_model.base_models import DTYPES, checkpoint_name, load_model, load_part
from storage.records import Box

if TYPE_CHECKING:
    import torch

_MAX_ASPECT = 4
"""A narrower image is padded: the model needs at least as many feature cells as it has queries."""


@dataclass(frozen=True)
class GroundingDinoConfig:
    """Where the checkpoint lies and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        box_threshold: least phrase score of a detection, in [0, 1].
        nms_iou: boxes of one phrase that overlap more than this are one, in (0, 1].
        device: torch device.
        dtype: of the weights, one of `DTYPES`.
        images_per_batch: captions that pass through the model together.
    """

    path: str
    revision: str = ""
    box_threshold: float = 0.3
    nms_iou: float = 0.6
    device: str = "cpu"
    dtype: str = "float32"
    images_per_batch: int = 16

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        if not 0 <= self.box_threshold <= 1:
            raise ValueError(f"box_threshold must lie in [0, 1], got {self.box_threshold}")
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou must lie in (0, 1], got {self.nms_iou}")
        if self.images_per_batch < 1:
            raise ValueError(f"images_per_batch must be at least 1, got {self.images_per_batch}")


@dataclass(frozen=True)
class _Job:
    """One caption about one image."""

    image: int
    phrases: list[int]
    caption: str


class GroundingDino:
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own tokens."""

    def __init__(self, config: GroundingDinoConfig) -> None:
        self.config = config
        self._model: Any = None
        self._processor: Any = None
        self._tokenizer: Any = None

    @property
    def name(self) -> str:
        """`model@revision`."""
        return checkpoint_name(self.config.path, self.config.revision)

    def load(self) -> None:
        """Read the weights; does nothing the second time."""
        if self._model is not None:
            return
        from transformers import AutoTokenizer, GroundingDinoForObjectDetection
        from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
            GroundingDinoImageProcessorPil,
        )

        config = self.config
        model, source = load_model(
            GroundingDinoForObjectDetection, config.path, config.revision, config.device, config.dtype
        )
        self._processor = load_part(GroundingDinoImageProcessorPil, config.path, source)
        self._tokenizer = load_part(AutoTokenizer, config.path, source)
        self._model = model

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase."""
        if len(images) != len(phrases):
            raise ValueError(f"need one list of phrases for each image, got {len(phrases)} for {len(images)} images")
        self.load()
        found: list[list[Detection]] = [[] for _ in images]
        for batch in self._batches(images, phrases):
            padded = [_padded(images[job.image]) for job in batch]
            for job, image_HWC, (boxes_Q4, score_QP) in zip(batch, padded, self._forward(batch, padded), strict=True):
                asked = [phrases[job.image][i] for i in job.phrases]
                height, width = images[job.image].shape[:2]
                corners_Q4 = _corners(boxes_Q4, image_HWC.shape[:2], (height, width))
                found[job.image] += self._select(asked, corners_Q4, score_QP)
        return [sorted(row, key=lambda detection: -detection.score) for row in found]

    def _batches(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> Iterator[list[_Job]]:
        """Captions grouped by image size: in a padded batch the border of one image would leak into another."""
        by_size: defaultdict[tuple[int, ...], list[_Job]] = defaultdict(list)
        for i, asked in enumerate(phrases):
            for chosen, text in captions(asked, self._model.config.max_text_len, self._count_tokens):
                by_size[images[i].shape].append(_Job(i, chosen, text))
        for jobs in by_size.values():
            for start in range(0, len(jobs), self.config.images_per_batch):
                yield jobs[start : start + self.config.images_per_batch]

    def _count_tokens(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _forward(
        self, jobs: Sequence[_Job], images: Sequence[np.ndarray]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Normalised centre-size boxes (Q, 4) and phrase scores (Q, P) for each job."""
        import torch

        text = self._tokenizer([job.caption for job in jobs], padding=True, return_tensors="pt")
        pixels = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        model = self._model
        with torch.inference_mode():
            out = model(
                pixel_values=pixels["pixel_values"].to(model.device, model.dtype),
                pixel_mask=pixels["pixel_mask"].to(model.device),
                **text.to(model.device),
            )
        for ids, logits_QT, boxes_Q4 in zip(text["input_ids"].tolist(), out.logits, out.pred_boxes, strict=True):
            yield boxes_Q4.float().cpu(), span_scores(logits_QT, phrase_spans(ids)).cpu()

    def _select(self, phrases: Sequence[str], corners_Q4: torch.Tensor, score_QP: torch.Tensor) -> Iterator[Detection]:
        from torchvision.ops import nms

        is_box_Q = (corners_Q4[:, 2:] - corners_Q4[:, :2] > 0).all(dim=1)
        for phrase, score_Q in zip(phrases, score_QP.unbind(1), strict=True):
            kept = (is_box_Q & (score_Q >= self.config.box_threshold)).nonzero()[:, 0]
            kept = kept[nms(corners_Q4[kept], score_Q[kept], self.config.nms_iou)]
            for corners, score in zip(corners_Q4[kept].tolist(), score_Q[kept].tolist(), strict=True):
                yield Detection(phrase, Box(*corners), score)


def _padded(image_HWC: np.ndarray) -> np.ndarray:
    """The image with black to the right or below, where it is more than `_MAX_ASPECT` times as long as wide."""
    height, width = image_HWC.shape[:2]
    missing = (max(0, -(-width // _MAX_ASPECT) - height), max(0, -(-height // _MAX_ASPECT) - width), 0)
    return np.pad(image_HWC, [(0, pad) for pad in missing]) if any(missing) else image_HWC


def _corners(boxes_Q4: torch.Tensor, padded_hw: tuple[int, int], original_hw: tuple[int, int]) -> torch.Tensor:
    """Normalised centre-size boxes of the padded image -> XYXY pixels, clipped to the original image."""
    import torch
    from torchvision.ops import box_convert

    scale = torch.tensor([padded_hw[1], padded_hw[0], padded_hw[1], padded_hw[0]])
    limit = torch.tensor([original_hw[1], original_hw[0], original_hw[1], original_hw[0]])
    return torch.minimum(box_convert(boxes_Q4 * scale, "cxcywh", "xyxy").clamp(min=0), limit)
