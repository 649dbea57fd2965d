"""Grounding DINO (Liu et al., 2023, arXiv 2303.05499) as a grounder, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.phrase_score import phrase_spans, span_scores
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.grounders.deformable_sampling import sample_by_rows
from ivm_data.experts.grounders.detections import CaptionModel, DetectionConfig, detect
from ivm_data.experts.grounders.folded_fusion import fold_fusion
from ivm_data.experts.grounders.shared_backbone import share_backbone
from ivm_model.model.base_models import Dtype, checkpoint_name, computing_in, load_model, load_part, to_device

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


class GroundingDino:
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own tokens."""

    def __init__(self, config: GroundingDinoConfig) -> None:
        self.config = config
        self._batches = Batches(config.images_per_batch)
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
        from transformers import AutoTokenizer
        from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
            GroundingDinoImageProcessorPil,
        )

        config = self.config
        model, source = load_model(self._model_class(), config.path, config.revision, config.device)
        share_backbone(model.model.backbone.conv_encoder)
        fold_fusion(model.model.encoder)
        sample_by_rows(model.model)
        self._processor = load_part(GroundingDinoImageProcessorPil, config.path, source)
        self._tokenizer = load_part(AutoTokenizer, config.path, source)
        self._model = model

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

    def _pixels(self, image_HWC: np.ndarray) -> torch.Tensor:
        """Resized and normalised, (3, H, W) float32."""
        return self._processor(images=image_HWC, return_tensors="pt", input_data_format="channels_last")[
            "pixel_values"
        ][0]

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
