"""Segment everything, then ask the LMM about each mask: a second proposer that shares no detector with the first.

The paper weights SAM's automatic masks by an image-text similarity (its release history names SAM + Alpha-CLIP);
here the LMM's P(yes) on a crop around each mask takes that place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivm_data.experts.common.distinct_questions import p_yes_once
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

    @property
    def input_size(self) -> Any:
        """What the segmenter sees."""
        return getattr(self.segmenter, "input_size", None)

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
        crops = {
            key: [crop_box(image_HWC, thing.box, self.config.crop_context) for thing in things[key]]
            for key, image_HWC in distinct.items()
        }
        rows = [
            (crop_HWC, prompts.CANDIDATE.format(phrase=phrase))
            for image, request in zip(images, requests, strict=True)
            for phrase, _ in _phrases(request)
            for crop_HWC in crops[id(image)]
        ]
        p_yes = iter(p_yes_once(self.verifier, [crop_HWC for crop_HWC, _ in rows], [question for _, question in rows]))
        return [
            self._answer(image, things[id(image)], request, p_yes)
            for image, request in zip(images, requests, strict=True)
        ]

    def _answer(
        self, image_HWC: np.ndarray, things: Sequence[AutomaticMask], request: Request, p_yes: Iterator[np.float32]
    ) -> tuple[np.ndarray, float]:
        """Args: p_yes: of each thing for the first phrase, then for the next; what is left is of other requests."""
        candidates = [
            Candidate(self.name, phrase, role, thing.box, min(max(thing.predicted_iou, 0.0), 1.0), float(next(p_yes)))
            for phrase, role in _phrases(request)
            for thing in things
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


def _phrases(request: Request) -> list[tuple[str, Role]]:
    """What each thing is asked about."""
    return [
        *((phrase, "target") for phrase in request.phrases),
        *((phrase, "anchor") for phrase in request.described_by),
    ]
