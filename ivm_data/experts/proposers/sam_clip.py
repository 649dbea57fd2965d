"""SAM's automatic masks weighted by CLIP: a soft heatmap for words, from two models that never saw a box.

The paper's own second expert (arXiv 2405.19783; its release history names SAM + Alpha-CLIP). A mask's heat for a phrase
is CLIP's zero-shot classification (Radford et al., 2021, arXiv 2103.00020, section 3.1) of the mask's cut-out, as the
phrase or as something else, at CLIP's learned temperature s:

    heat(mask, phrase) = e^(s cos(mask, phrase)) / (e^(s cos(mask, phrase)) + e^(s cos(mask, background)))

A pixel's heat is the mean over the masks that hold it, weighted by 1 / area, and 0 where there is none. Ours are the
background text, without which the best mask of an absent thing would be as hot as that of a present one, and the
weights, by which a thing counts for more than the group that it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.image_groups import batches_by_image
from ivm_data.experts.common.phrase_score import without_markup
from ivm_data.experts.common.prefetch import THREADS, ahead
from ivm_data.experts.common.protocols import Segmenter
from ivm_data.experts.common.small_images import propose_on_small
from ivm_data.experts.proposers.mask_proposals import from_heatmap, not_found
from ivm_data.experts.segmenters.automatic_masks import AutomaticMask, AutomaticMaskConfig, things_in
from ivm_model.masking import crop_box, keep_only
from ivm_model.model.base_models import Dtype, to_device
from storage.common.validation import Count, Rule, within
from storage.records import Box
from storage.request import Request

if TYPE_CHECKING:
    import torch

TEMPLATE = "a photo of a {phrase}"
"""CLIP's own prompt for a class (section 3.1.4)."""


@dataclass(frozen=True, kw_only=True)
class SamClipConfig(AutomaticMaskConfig):
    """Where CLIP lies and what counts as found; and which masks count as things.

    Attributes:
        path: checkpoint directory or hub id of a CLIP.
        revision: hub revision; "" means the directory's content hash, or "main".
        threshold: least heat of the mask's pixels, in (0, 1).
        background: what a mask shows that does not show the phrase, in words.
        device: torch device.
        dtype: of the weights.
        images_per_batch: images whose masks are held together.
        crops_per_batch: cut-outs that pass through CLIP together.
        phrases_per_batch: phrases that pass through CLIP together.
    """

    path: str
    revision: str = ""
    threshold: Annotated[float, within("(0, 1)")] = 0.5
    background: Annotated[str, Rule("have words", lambda text: bool(text.strip()))] = "a photo of something else"
    device: str = "cpu"
    dtype: Dtype = "float32"
    images_per_batch: Count = 8
    crops_per_batch: Count = 64
    phrases_per_batch: Count = 64
    max_masks: Count = 64


class SamClip(CheckpointExpert[SamClipConfig]):
    """MaskProposer: the pixels that are hot for any target phrase; each image is segmented once."""

    def __init__(self, segmenter: Segmenter, config: SamClipConfig) -> None:
        super().__init__(config)
        self.segmenter = segmenter
        self._crops, self._phrases = Batches(config.crops_per_batch), Batches(config.phrases_per_batch)

    @property
    def name(self) -> str:
        """Both models' names."""
        return f"sam-clip:{self.segmenter.name}+{super().name}"

    @property
    def input_size(self) -> Any:
        """What the segmenter sees: CLIP is shown cut-outs."""
        return getattr(self.segmenter, "input_size", None)

    def load(self) -> None:
        """Load both models; does nothing the second time."""
        self.segmenter.load()
        super().load()

    def _read(self) -> Any:
        from transformers import CLIPModel
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        return self._from_pretrained(CLIPModel, CLIPImageProcessorPil, dtype=self.config.dtype)

    def together(self, verb: str, rows: Sequence[tuple[Any, ...]]) -> list[list[int]] | None:
        """The whole call (`KeptExpert`), where the segmenter's masks depend on it alone."""
        parted = getattr(self.segmenter, "together", None)
        return None if parted is not None and parted(verb, rows) is None else [list(range(len(rows)))]

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """The pixels whose heat reaches the threshold for any target phrase; the score is their mean heat."""
        return propose_on_small(self._propose, images, requests)

    def _propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        self.load()
        results = [not_found(image) for image in images]
        phrases = [[words for phrase in request.phrases if (words := without_markup(phrase))] for request in requests]
        contrast_C = self._contrasts(dict.fromkeys(phrase for row in phrases for phrase in row))
        asked = [i for i, row in enumerate(phrases) if row]
        for groups in batches_by_image(images, asked, self.config.images_per_batch):
            found = things_in([images[rows[0]] for rows in groups], self.segmenter, self.config)
            for rows, things in zip(groups, found, strict=True):
                if not things:
                    continue
                cutout_NC = self._see(images[rows[0]], things)
                for i in rows:
                    heats = [(cutout_NC @ contrast_C[phrase]).sigmoid().numpy() for phrase in phrases[i]]
                    maps = (_heatmap(things, heat_N) for heat_N in heats)
                    results[i] = from_heatmap(reduce(np.maximum, maps), self.config.threshold)
        return results

    def _see(self, image_HWC: np.ndarray, things: Sequence[AutomaticMask]) -> torch.Tensor:
        """Unit embeddings (N, C) of the things' cut-outs, float32 on the CPU."""
        import torch
        from torch.nn.functional import normalize

        def pixels(thing: AutomaticMask) -> torch.Tensor:
            return self._pixels(_cutout(image_HWC, thing))

        def see(some: Sequence[torch.Tensor]) -> torch.Tensor:
            model = self._model
            with torch.inference_mode():
                image_BCHW = to_device(torch.stack(list(some)), model.device).to(model.dtype)
                image_BC: torch.Tensor = model.get_image_features(image_BCHW).pooler_output.float().cpu()
                return image_BC

        with closing(ahead(pixels, things, 2 * self._crops.size, THREADS)) as prepared:
            return normalize(torch.stack(list(self._crops.run(see, prepared))), dim=-1)

    def _contrasts(self, phrases: Iterable[str]) -> dict[str, torch.Tensor]:
        """s (phrase - background) (C,) of each phrase: its product with a cut-out is the logit of the cut-out's heat.

        A phrase longer than the encoder reads is cut.
        """
        import torch
        from torch.nn.functional import normalize

        model, words = self._model, list(phrases)

        def read(some: Sequence[str]) -> torch.Tensor:
            tokens = self._tokens(some)
            with torch.inference_mode():
                out = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
            text_NC: torch.Tensor = out.pooler_output.float().cpu()
            return text_NC

        texts = [self.config.background, *(TEMPLATE.format(phrase=phrase) for phrase in words)]
        background_C, *text_C = normalize(torch.stack(list(self._phrases.run(read, texts))), dim=-1)
        temperature = model.logit_scale.detach().float().exp().cpu()
        return {phrase: temperature * (one_C - background_C) for phrase, one_C in zip(words, text_C, strict=True)}


def _cutout(image_HWC: np.ndarray, thing: AutomaticMask) -> np.ndarray:
    """The mask's pixels alone, on white, in a square: what CLIP sees shows no neighbour."""
    x0, y0, x1, y1 = (round(side) for side in (thing.box.x0, thing.box.y0, thing.box.x1, thing.box.y1))
    alone_HWC = keep_only(image_HWC[y0:y1, x0:x1], thing.mask_HW[y0:y1, x0:x1])
    return crop_box(alone_HWC, Box(0, 0, x1 - x0, y1 - y0), context=0.0)


def _heatmap(things: Sequence[AutomaticMask], heat_N: np.ndarray) -> np.ndarray:
    """Mean heat of the masks that hold each pixel, weighted by 1 / area, (H, W) float32 in [0, 1]."""
    heat_HW, weight_HW = np.zeros((2, *things[0].mask_HW.shape))
    for thing, heat in zip(things, heat_N, strict=True):
        share = 1 / thing.mask_HW.sum()
        heat_HW[thing.mask_HW] += share * heat
        weight_HW[thing.mask_HW] += share
    mean_HW: np.ndarray = (heat_HW / np.maximum(weight_HW, np.finfo(float).tiny)).clip(0, 1)
    return mean_HW.astype(np.float32)
