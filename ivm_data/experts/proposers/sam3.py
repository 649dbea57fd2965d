"""SAM 3 (Meta, 2025, arXiv 2511.16719): every instance of a concept in words, or none; as masks or as boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.image_groups import answers_by_image
from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.common.protocols import Detection, check_lengths
from ivm_data.experts.proposers.mask_proposals import ScoredMask, propose_by_image, spoken
from ivm_data.selection import ChooseConfig, choose, support
from ivm_model.model.base_models import Dtype, to_device
from storage.common.validation import Checked, Count, Share, within
from storage.records import Box, Candidate, Role
from storage.request import Request

if TYPE_CHECKING:
    import torch


_MAX_TOKENS = 32
"""To which SAM 3's own processor pads every text; a small text encoder stretches its positions to as many."""


@dataclass(frozen=True)
class Sam3Config(Checked):
    """Where the checkpoint lies and what counts as found.

    Attributes:
        path: checkpoint directory or hub id.
        revision: hub revision; "" means the directory's content hash, or "main".
        threshold: least score of an instance, in [0, 1]: its query's probability times the concept's presence.
        device: torch device.
        dtype: of the weights.
        images_per_batch: images that pass through the image encoder together.
        prompts_per_batch: phrases that pass through the detector together.
        nms_iou: of a grounder, boxes of one phrase that overlap more than this are one, in (0, 1].
        choose: of a proposer, see `ChooseConfig`.
    """

    path: str
    revision: str = ""
    threshold: Share = 0.5
    device: str = "cpu"
    dtype: Dtype = "float32"
    images_per_batch: Count = 4
    prompts_per_batch: Count = 8
    nms_iou: Annotated[float, within("(0, 1]")] = 0.6
    choose: ChooseConfig = field(default_factory=ChooseConfig)


@dataclass(frozen=True)
class _Found:
    """What SAM 3 saw of one phrase in one image.

    Attributes:
        best: the best query's score, above the threshold or not.
        score_N, box_N4, logits_Nhw: of the instances above it; boxes are XYXY in [0, 1].
    """

    best: float
    score_N: torch.Tensor
    box_N4: torch.Tensor
    logits_Nhw: torch.Tensor


class Sam3(CheckpointExpert[Sam3Config]):
    """MaskProposer and Grounder over one encoding of an image, and one copy of the weights where a recipe has both.

    A proposer chooses among the instances of each phrase as the resolve stage chooses among boxes.
    """

    def __init__(self, config: Sam3Config) -> None:
        super().__init__(config)
        self._images, self._prompts = Batches(config.images_per_batch), Batches(config.prompts_per_batch)

    def _read(self) -> Any:
        from transformers import Sam3ImageProcessor, Sam3Model

        # Released checkpoints call themselves "sam3_video".
        return self._from_pretrained(Sam3Model, Sam3ImageProcessor, dtype=self.config.dtype, also=("sam3_video",))

    def ground(self, images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All instances of each phrase, best first, after non-maximum suppression within each phrase."""
        check_lengths(images, phrases, "list of phrases")
        self.load()
        asked = [i for i, row in enumerate(phrases) if spoken(row)]

        def ask(pixels: Sequence[torch.Tensor], groups: Sequence[list[int]]) -> Iterable[list[list[Detection]]]:
            found = self._find(pixels, [[phrases[i] for i in rows] for rows in groups])
            for seen, rows in zip(found, groups, strict=True):
                yield [self._boxes(images[i].shape[:2], seen, phrases[i]) for i in rows]

        answers = answers_by_image(images, asked, self._images, self._pixels, ask)
        return [answers.get(i, []) for i in range(len(images))]

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """The chosen instances of the target phrases; the score is the least of theirs and of phrases without any."""
        check_lengths(images, requests, "request")
        self.load()
        asked = [i for i, request in enumerate(requests) if spoken(request.phrases)]

        def propose(pixels: Sequence[torch.Tensor], groups: Sequence[list[int]]) -> Iterable[list[ScoredMask]]:
            named = [[_asked(requests[i]) for i in rows] for rows in groups]
            for seen, rows in zip(self._find(pixels, named), groups, strict=True):
                yield [self._answer(images[i].shape[:2], seen, requests[i]) for i in rows]

        return propose_by_image(images, asked, self._images, self._pixels, propose)

    def _find(
        self, pixels: Sequence[torch.Tensor], asked: Sequence[Sequence[Sequence[str]]]
    ) -> Iterator[dict[str, _Found]]:
        """What is seen of each phrase, as `clean` writes it, in each image.

        Args:
            asked: the lists of phrases about each image.
        """
        pairs = list(dict.fromkeys((k, words) for k, rows in enumerate(asked) for row in rows for words in spoken(row)))
        found = dict(zip(pairs, self._detect(self._see(pixels), pairs), strict=True))
        for k in range(len(asked)):
            yield {words: answer for (image, words), answer in found.items() if image == k}

    def _see(self, pixels: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Feature map and position encoding, both (B, C, h, w), of each level of the image encoder."""
        import torch

        model = self._model
        with torch.inference_mode():
            image_BCHW = to_device(torch.stack(list(pixels)), model.device).to(model.dtype)
            out = model.get_vision_features(image_BCHW)
        return list(zip(out.fpn_hidden_states, out.fpn_position_encoding, strict=True))

    def _detect(
        self, levels: Sequence[tuple[torch.Tensor, torch.Tensor]], pairs: Sequence[tuple[int, str]]
    ) -> Iterator[_Found]:
        """What is seen for each pair of image and phrase."""
        import torch
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        model = self._model

        def read(some: Sequence[tuple[int, str]]) -> Iterator[_Found]:
            rows, texts = zip(*some, strict=True)
            tokens = self._tokens(texts, padding="max_length", max_length=_MAX_TOKENS)
            picked = Sam3VisionEncoderOutput(
                fpn_hidden_states=tuple(map_BChw[list(rows)] for map_BChw, _ in levels),
                fpn_position_encoding=tuple(code_BChw[list(rows)] for _, code_BChw in levels),
            )
            with torch.inference_mode():
                out = model(
                    vision_embeds=picked, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                )
            score_PQ = out.pred_logits.float().sigmoid() * out.presence_logits.float().sigmoid()
            check_finite(score_PQ, "the scores of instances")
            for score_Q, box_Q4, logits_Qhw in zip(score_PQ, out.pred_boxes, out.pred_masks, strict=True):
                kept = score_Q > self.config.threshold
                yield _Found(float(score_Q.max()), score_Q[kept], box_Q4[kept].float(), logits_Qhw[kept].float())

        return self._prompts.run(read, pairs)

    def _answer(
        self, original_hw: tuple[int, int], seen: Mapping[str, _Found], request: Request
    ) -> tuple[np.ndarray, float]:
        asked: list[tuple[str, Role]] = [(phrase, "target") for phrase in request.phrases if clean(phrase)]
        asked += [(phrase, "anchor") for phrase in request.described_by if clean(phrase)]
        candidates = [c for phrase, role in asked for c in self._candidates(phrase, role, seen, original_hw)]
        logits = [logits_hw for phrase, _ in asked for logits_hw in seen[clean(phrase)].logits_Nhw]
        choice = choose(candidates, request, self.config.choose)
        mask_HW = np.zeros(original_hw, bool)
        for candidate, logits_hw in zip(choice.candidates, logits, strict=True):
            if candidate.chosen and candidate.role == "target":
                mask_HW |= _upscaled(logits_hw, original_hw)
        if not mask_HW.any():
            return mask_HW, 0.0
        missing = [found.best for phrase, _ in asked if not len((found := seen[clean(phrase)]).score_N)]
        return mask_HW, min([*map(support, choice.chosen), *missing])

    def _boxes(
        self, original_hw: tuple[int, int], seen: Mapping[str, _Found], phrases: Sequence[str]
    ) -> list[Detection]:
        from torchvision.ops import nms

        boxes: list[Detection] = []
        for phrase in filter(clean, phrases):
            found = seen[clean(phrase)]
            kept = nms(_clipped(found.box_N4, original_hw), found.score_N, self.config.nms_iou)
            corners_N4, score_N = _clipped(found.box_N4[kept], original_hw), found.score_N[kept]
            for corners, score in zip(corners_N4.tolist(), score_N.tolist(), strict=True):
                boxes += [Detection(phrase, box, score)] if (box := Box(*corners)).area > 0 else []
        return sorted(boxes, key=lambda detection: -detection.score)

    def _candidates(
        self, phrase: str, role: Role, seen: Mapping[str, _Found], original_hw: tuple[int, int]
    ) -> Iterator[Candidate]:
        """The instances of a phrase as boxes of the original image."""
        (height, width), found = original_hw, seen[clean(phrase)]
        for score, (x0, y0, x1, y1) in zip(found.score_N.tolist(), found.box_N4.tolist(), strict=True):
            yield Candidate(self.name, phrase, role, Box(x0 * width, y0 * height, x1 * width, y1 * height), score)


def _asked(request: Request) -> tuple[str, ...]:
    return (*request.phrases, *request.described_by)


def _clipped(box_N4: torch.Tensor, original_hw: tuple[int, int]) -> torch.Tensor:
    """Boxes in [0, 1] as pixels of the original image."""
    height, width = original_hw
    return box_N4.clamp(0, 1) * box_N4.new_tensor([width, height, width, height])


def _upscaled(logits_hw: torch.Tensor, original_hw: tuple[int, int]) -> np.ndarray:
    """The mask in the original image, which was stretched to the model's square."""
    from torch.nn import functional

    probability_hw = logits_hw.sigmoid()[None, None]
    probability_HW = functional.interpolate(probability_hw, original_hw, mode="bilinear", align_corners=False)[0, 0]
    return (probability_HW > 0.5).cpu().numpy()
