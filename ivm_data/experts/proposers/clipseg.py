"""CLIPSeg (Lüddecke and Ecker, 2022, arXiv 2112.10003) as a mask proposer, for any transformers checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.protocols import check_lengths
from ivm_data.experts.proposers.mask_proposals import ScoredMask, from_heatmap, propose_by_image, spoken
from ivm_model.model.base_models import Dtype, to_device
from storage.common.validation import Checked, Count, within
from storage.request import Request

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ClipSegConfig(Checked):
    """Where the checkpoint lies and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        threshold: least probability of a mask's pixels, in (0, 1).
        device: torch device.
        dtype: of the weights.
        images_per_batch: images that pass through the image encoder together.
        prompts_per_batch: phrases that pass through the mask decoder together.
    """

    path: str
    revision: str = ""
    threshold: Annotated[float, within("(0, 1)")] = 0.5
    device: str = "cpu"
    dtype: Dtype = "float32"
    images_per_batch: Count = 16
    prompts_per_batch: Count = 64


class ClipSeg(CheckpointExpert[ClipSegConfig]):
    """MaskProposer: union of the target phrases' masks, one image encoding for all phrases about an image."""

    def __init__(self, config: ClipSegConfig) -> None:
        super().__init__(config)
        self._images, self._prompts = Batches(config.images_per_batch), Batches(config.prompts_per_batch)

    def _read(self) -> Any:
        from transformers import CLIPSegForImageSegmentation
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        return self._from_pretrained(CLIPSegForImageSegmentation, ViTImageProcessorPil, dtype=self.config.dtype)

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """The pixels that reach the threshold for any target phrase; the score is their mean probability."""
        check_lengths(images, requests, "request")
        self.load()
        phrases = [spoken(request.phrases) for request in requests]
        asked = [i for i, row in enumerate(phrases) if row]

        def propose(pixels: Sequence[torch.Tensor], groups: Sequence[list[int]]) -> Iterable[list[ScoredMask]]:
            pairs = list(
                dict.fromkeys((k, phrase) for k, rows in enumerate(groups) for i in rows for phrase in phrases[i])
            )
            logits = dict(zip(pairs, self._decode(self._see(pixels), pairs), strict=True))
            for k, rows in enumerate(groups):
                maps = [[_heatmap(logits[k, phrase], images[i].shape[:2]) for phrase in phrases[i]] for i in rows]
                yield [from_heatmap(reduce(np.maximum, row), self.config.threshold) for row in maps]

        return propose_by_image(images, asked, self._images, self._pixels, propose)

    def _see(self, pixels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Activations (B, T, C) of the image encoder's layers that the decoder reads."""
        import torch

        model = self._model
        with torch.inference_mode():
            seen = model.clip.get_image_features(
                to_device(torch.stack(list(pixels)), model.device).to(model.dtype),
                interpolate_pos_encoding=True,
                output_hidden_states=True,
            )
        return [seen.hidden_states[layer + 1] for layer in model.extract_layers]

    def _decode(self, layers: Sequence[torch.Tensor], pairs: Sequence[tuple[int, str]]) -> Iterator[torch.Tensor]:
        """Mask logits (h, w) of the square input for each pair of image and phrase."""
        import torch

        model = self._model

        def read(some: Sequence[tuple[int, str]]) -> torch.Tensor:
            rows, texts = zip(*some, strict=True)
            tokens = self._tokens(texts)
            with torch.inference_mode():
                text_NC = model.get_conditional_embeddings(len(texts), tokens["input_ids"], tokens["attention_mask"])
                logits_Nhw: torch.Tensor = model.decoder(
                    [layer_BTC[list(rows)] for layer_BTC in layers], text_NC
                ).logits.float()
                return logits_Nhw

        return self._prompts.run(read, pairs)


def _heatmap(logits_hw: torch.Tensor, original_hw: tuple[int, int]) -> np.ndarray:
    """Probability of each pixel of the original image: the square input is the stretched image."""
    from torch.nn import functional

    logits_HW = functional.interpolate(logits_hw[None, None], original_hw, mode="bilinear", align_corners=False)[0, 0]
    return logits_HW.sigmoid().cpu().numpy()
