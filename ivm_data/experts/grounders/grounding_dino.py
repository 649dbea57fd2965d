"""Grounding DINO (Liu et al., 2023, arXiv 2303.05499) as a grounder, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.phrase_score import phrase_spans, span_scores
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.grounders.deformable_sampling import sample_by_rows
from ivm_data.experts.grounders.detections import CaptionModel, DetectionConfig, detect
from ivm_data.experts.grounders.folded_fusion import fold_fusion
from ivm_data.experts.grounders.shared_backbone import share_backbone
from ivm_model.model.base_models import Dtype, computing_in, to_device

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GroundingDinoConfig(DetectionConfig):
    """Where the checkpoint lies; and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        dtype: in which the model computes; boxes are refined in float32.
    """

    path: str
    revision: str = ""
    dtype: Dtype = "float32"


class GroundingDino(CheckpointExpert[GroundingDinoConfig]):
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own tokens."""

    def __init__(self, config: GroundingDinoConfig) -> None:
        super().__init__(config)
        self._batches = Batches(config.images_per_batch)

    def _read(self) -> Any:
        from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
            GroundingDinoImageProcessorPil,
        )

        model = self._from_pretrained(self._model_class(), GroundingDinoImageProcessorPil)
        share_backbone(model.model.backbone.conv_encoder)
        fold_fusion(model.model.encoder)
        sample_by_rows(model.model)
        return model

    def _model_class(self) -> Any:
        from transformers import GroundingDinoForObjectDetection

        return GroundingDinoForObjectDetection

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase."""
        check_lengths(images, phrases, "list of phrases")
        self.load()
        model = CaptionModel(
            self._pixels, self._forward, self._batches, self._model.config.max_text_len, self._count_tokens
        )
        return detect(model, images, phrases, self.config)

    def _count_tokens(self, text: str) -> int:
        # With padding, as `_forward`: a tokenizer keeps that as a state, which threads must not change for each other.
        return len(self._tokenizer([text], padding=True, add_special_tokens=False)["input_ids"][0])

    def _forward(
        self, captions: Sequence[str], pixels: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Normalised centre-size boxes (Q, 4) and phrase scores (Q, P) for each caption."""
        import torch

        model = self._model
        text = self._tokenizer(list(captions), padding=True, return_tensors="pt")
        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            out = model(pixel_values=to_device(torch.stack(list(pixels)), model.device), **text.to(model.device))
        for ids, logits_QT, boxes_Q4 in zip(text["input_ids"].tolist(), out.logits, out.pred_boxes, strict=True):
            yield boxes_Q4.float().cpu(), span_scores(logits_QT, phrase_spans(ids)).cpu()
