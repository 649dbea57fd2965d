"""Segment everything, then ask the LMM about each mask: a second proposer that shares no detector with the first.

The paper weights SAM's automatic masks by an image-text similarity (its release history names SAM + Alpha-CLIP);
here the LMM's P(yes) on a crop around each mask takes that place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ivm_data.experts.common.protocols import Segmenter, Verifier
from ivm_data.experts.common.small_images import propose_on_small
from ivm_data.experts.lmms import prompts
from ivm_data.experts.segmenters.automatic_masks import AutomaticMask, AutomaticMaskConfig, things_in
from ivm_data.selection import ChooseConfig, choose, support
from ivm_model.masking import crop_box
from storage.records import Candidate, Role
from storage.request import Request


@dataclass(frozen=True, kw_only=True)
class EverythingConfig(AutomaticMaskConfig):
    """Which masks count as things; and how they are chosen.

    Attributes:
        crop_context: margin around a mask's box in the LMM's crop, as a share of the box.
        choose: see `ChooseConfig`.
    """

    crop_context: float = prompts.CANDIDATE_CONTEXT
    choose: ChooseConfig = field(default_factory=ChooseConfig)


class Everything:
    """A `MaskProposer` made of a segmenter and a verifier."""

    def __init__(self, segmenter: Segmenter, verifier: Verifier, config: EverythingConfig) -> None:
        self.segmenter, self.verifier, self.config = segmenter, verifier, config

    @property
    def name(self) -> str:
        """Both models' names."""
        return f"everything:{self.segmenter.name}+{self.verifier.name}"

    def load(self) -> None:
        """Load both models."""
        self.segmenter.load()
        self.verifier.load()

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """Things of each distinct image, each asked about each phrase, chosen as the resolve stage chooses boxes."""
        return propose_on_small(self._propose, images, requests)

    def _propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        distinct = {id(image): image for image in images}
        found = things_in(list(distinct.values()), self.segmenter, self.config)
        things = dict(zip(distinct, found, strict=True))
        return [
            self._answer(image, things[id(image)], request) for image, request in zip(images, requests, strict=True)
        ]

    def _answer(
        self, image_HWC: np.ndarray, things: Sequence[AutomaticMask], request: Request
    ) -> tuple[np.ndarray, float]:
        asked: list[tuple[str, Role]] = [(phrase, "target") for phrase in request.phrases]
        asked += [(phrase, "anchor") for phrase in request.described_by]
        crops = [crop_box(image_HWC, thing.box, self.config.crop_context) for thing in things]
        p_yes = self.verifier.p_yes(
            crops * len(asked), [prompts.CANDIDATE.format(phrase=phrase) for phrase, _ in asked for _ in things]
        )
        candidates = [
            Candidate(self.name, phrase, role, thing.box, min(max(thing.predicted_iou, 0.0), 1.0), float(p))
            for ((phrase, role), thing), p in zip(((a, t) for a in asked for t in things), p_yes, strict=True)
        ]
        choice = choose(candidates, request, self.config.choose)
        masks = [
            things[i % len(things)].mask_HW
            for i, candidate in enumerate(choice.candidates)
            if candidate.chosen and candidate.role == "target"
        ]
        if not masks:
            return np.zeros(image_HWC.shape[:2], bool), 0.0
        return np.logical_or.reduce(masks), min(map(support, choice.chosen))
