"""OWLv2 (Minderer et al., 2023, arXiv 2306.09683) as a grounder, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.common.prefetch import THREADS, ahead
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.grounders.detections import DetectionConfig, select
from ivm_model.model.base_models import Dtype, to_device
from storage.common.validation import Count, Share

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Owlv2Config(DetectionConfig):
    """Where the checkpoint lies; and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        dtype: of the weights.
        phrases_per_batch: phrases that pass through the text encoder together.
    """

    path: str
    revision: str = ""
    dtype: Dtype = "float32"
    phrases_per_batch: Count = 64
    box_threshold: Share = field(default=0.1, kw_only=True)


class Owlv2(CheckpointExpert[Owlv2Config]):
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own query.

    Text and image meet in the last layer only. So each phrase and each image is encoded once, and images in a batch
    need not have equally many phrases, as the model's `forward` wants it.
    """

    def __init__(self, config: Owlv2Config) -> None:
        super().__init__(config)
        self._images, self._phrases = Batches(config.images_per_batch), Batches(config.phrases_per_batch)

    def _read(self) -> Any:
        from transformers import Owlv2ForObjectDetection
        from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

        return self._from_pretrained(Owlv2ForObjectDetection, Owlv2ImageProcessorPil, dtype=self.config.dtype)

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Detections for each image, best first, after non-maximum suppression within each phrase."""
        check_lengths(images, phrases, "list of phrases")
        self.load()
        found: list[list[Detection]] = [[] for _ in images]
        asked = {i: spoken for i, row in enumerate(phrases) if (spoken := [phrase for phrase in row if clean(phrase)])}
        queries = self._queries(dict.fromkeys(phrase for row in asked.values() for phrase in row))
        with closing(ahead(self._pixels, (images[i] for i in asked), 2 * self._images.size, THREADS)) as pixels:
            for i, (features_QC, boxes_Q4) in zip(asked, self._images.run(self._see, pixels), strict=True):
                score_QP = self._score(features_QC, [queries[phrase] for phrase in asked[i]])
                corners_Q4 = _corners(boxes_Q4, images[i].shape[:2])
                found[i] = sorted(select(asked[i], corners_Q4, score_QP, self.config), key=lambda d: -d.score)
        return found

    def _queries(self, phrases: Mapping[str, None]) -> dict[str, torch.Tensor]:
        """Query embedding (C,) of each phrase."""
        import torch

        model = self._model

        def read(some: Sequence[str]) -> torch.Tensor:
            tokens = self._tokens([clean(phrase) for phrase in some], padding="max_length")
            with torch.inference_mode():
                text_NC: torch.Tensor = model.owlv2.get_text_features(
                    tokens["input_ids"], tokens["attention_mask"]
                ).pooler_output
                return text_NC

        return dict(zip(phrases, self._phrases.run(read, phrases), strict=True))

    def _see(self, pixels: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features (Q, C) and normalised centre-size boxes (Q, 4) of each image's patches."""
        import torch

        model = self._model
        with torch.inference_mode():
            image_BCHW = to_device(torch.stack(list(pixels)), model.device).to(model.dtype)
            map_BhwC, _ = model.image_embedder(image_BCHW)
            features_BQC = map_BhwC.flatten(1, 2)
            boxes_BQ4 = model.box_predictor(features_BQC, map_BhwC)
        yield from zip(features_BQC, boxes_BQ4.float().cpu(), strict=True)

    def _score(self, features_QC: torch.Tensor, queries: Sequence[torch.Tensor]) -> torch.Tensor:
        """Probability (Q, P) that a patch's box shows what a phrase's query asks for."""
        import torch

        logits_1QP: torch.Tensor
        with torch.inference_mode():
            logits_1QP, _ = self._model.class_predictor(features_QC[None], torch.stack(list(queries))[None])
        return logits_1QP[0].float().sigmoid().cpu()


def _corners(boxes_Q4: torch.Tensor, original_hw: tuple[int, int]) -> torch.Tensor:
    """Normalised centre-size boxes -> XYXY pixels, clipped to the image, which was padded to a square at its end."""
    import torch
    from torchvision.ops import box_convert

    height, width = original_hw
    corners_Q4 = box_convert(boxes_Q4 * max(height, width), "cxcywh", "xyxy")
    return torch.minimum(corners_Q4.clamp(min=0), torch.tensor([width, height, width, height]))
