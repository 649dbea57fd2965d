"""Segment everything, then ask the LMM about each mask: a second opinion that shares no detector with the first.

The paper weights SAM's automatic masks by an image-text similarity (its release history names SAM + Alpha-CLIP);
here the LMM's P(yes) on a crop around each mask takes that place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torchvision.ops import nms

from ivm_data.experts import prompts
from ivm_data.experts.base import Segmenter, Verifier
from ivm_data.stages.choose import ChooseConfig, choose, support
from ivm_model.masking import crop_box
from storage import rle
from storage.errors import ConfigError
from storage.records import Box, Candidate, Rewrite, Role


@dataclass(frozen=True)
class EverythingConfig:
    """How masks are found and chosen.

    Attributes:
        grid: points per side of the prompt grid.
        min_predicted_iou, min_stability: drop a mask below either.
        max_area_ratio: drop a mask that covers more of the image than this: background.
        nms_iou: drop a mask whose box overlaps a better one's more than this.
        max_masks: ask the LMM about at most this many masks an image.
        crop_context: margin around a mask's box in the LMM's crop, as a share of the box.
        choose: see `ChooseConfig`.
    """

    grid: int = 10
    min_predicted_iou: float = 0.6
    min_stability: float = 0.7
    max_area_ratio: float = 0.4
    nms_iou: float = 0.6
    max_masks: int = 16
    crop_context: float = prompts.CANDIDATE_CONTEXT
    choose: ChooseConfig = field(default_factory=ChooseConfig)

    def __post_init__(self) -> None:
        if self.grid < 1 or self.max_masks < 1:
            raise ConfigError(f"'grid' and 'max_masks' must be at least 1, got {self.grid} and {self.max_masks}")


@dataclass(frozen=True)
class _Thing:
    mask_HW: np.ndarray
    box: Box
    predicted_iou: float


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

    def propose(self, images: Sequence[np.ndarray], rewrites: Sequence[Rewrite]) -> list[tuple[np.ndarray, float]]:
        """Things of each distinct image, each asked about each phrase, chosen as the resolve stage chooses boxes."""
        distinct = {id(image): image for image in images}
        grids = [self._grid(image) for image in distinct.values()]
        found = self.segmenter.segment_points(list(distinct.values()), grids)
        things = {
            key: self._things(result.mask_NHW, result.predicted_iou_N, result.stability_N)
            for key, result in zip(distinct, found, strict=True)
        }
        return [
            self._answer(image, things[id(image)], rewrite) for image, rewrite in zip(images, rewrites, strict=True)
        ]

    def _grid(self, image_HWC: np.ndarray) -> np.ndarray:
        """(grid * grid, 2) centres of equal cells, (x, y) in pixels."""
        steps = (np.arange(self.config.grid) + 0.5) / self.config.grid
        x, y = np.meshgrid(steps * image_HWC.shape[1], steps * image_HWC.shape[0])
        return np.stack([x.ravel(), y.ravel()], axis=1)

    def _things(self, mask_NHW: np.ndarray, predicted_iou_N: np.ndarray, stability_N: np.ndarray) -> list[_Thing]:
        """Distinct, sure, bounded masks, best first."""
        config = self.config
        area_N = mask_NHW.reshape(len(mask_NHW), -1).mean(axis=1)
        keep = (predicted_iou_N >= config.min_predicted_iou) & (stability_N >= config.min_stability)
        rows = np.flatnonzero(keep & (area_N > 0) & (area_N <= config.max_area_ratio))
        things = []
        for row in rows:
            box = rle.bbox(rle.encode(mask_NHW[row]))
            assert box is not None
            things.append(_Thing(mask_NHW[row], box, float(predicted_iou_N[row])))
        if not things:
            return []
        box_N4 = torch.tensor([[t.box.x0, t.box.y0, t.box.x1, t.box.y1] for t in things])
        order = nms(box_N4, torch.tensor([t.predicted_iou for t in things]), config.nms_iou)
        return [things[int(i)] for i in order[: config.max_masks]]

    def _answer(self, image_HWC: np.ndarray, things: Sequence[_Thing], rewrite: Rewrite) -> tuple[np.ndarray, float]:
        asked: list[tuple[str, Role]] = [(phrase, "target") for phrase in rewrite.phrases]
        asked += [(rewrite.anchor, "anchor")] if rewrite.anchor else []
        crops = [crop_box(image_HWC, thing.box, self.config.crop_context) for thing in things]
        p_yes = self.verifier.p_yes(
            crops * len(asked), [prompts.CANDIDATE.format(phrase=phrase) for phrase, _ in asked for _ in things]
        )
        candidates = [
            Candidate(self.name, phrase, role, thing.box, min(max(thing.predicted_iou, 0.0), 1.0), float(p))
            for ((phrase, role), thing), p in zip(((a, t) for a in asked for t in things), p_yes, strict=True)
        ]
        choice = choose(candidates, rewrite, self.config.choose)
        masks = [
            things[i % len(things)].mask_HW
            for i, candidate in enumerate(choice.candidates)
            if candidate.chosen and candidate.role == "target"
        ]
        if not masks:
            return np.zeros(image_HWC.shape[:2], bool), 0.0
        return np.logical_or.reduce(masks), min(map(support, choice.chosen))
