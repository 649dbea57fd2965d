"""Chosen boxes -> masks: the proposals of the consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from ivm_data.experts.common.protocols import MaskProposer, Segmentation, Segmenter
from ivm_data.selection import support
from ivm_data.stages.stage import Draft, Outcome
from storage.pixels import rle
from storage.records import Candidate, Proposal


class SegmentStage:
    """Resolved draft -> draft with one proposal from the chosen boxes, and one from each mask proposer.

    Of an absent target the mask proposers are asked too: `agreement` is then one minus the mean score of what they draw
    nonetheless, 1 where none finds anything.
    """

    name = "segment"

    def __init__(self, segmenter: Segmenter, proposers: Sequence[MaskProposer]) -> None:
        self.segmenter = segmenter
        self.proposers = tuple(proposers)

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Segment once for each distinct image, however many instructions ask about it."""
        present = [draft for draft in batch if not draft.is_answered]
        proposals: dict[str, list[Proposal]] = {draft.sample.id: [] for draft in present}
        for draft, proposal in zip(present, self._from_boxes(present), strict=True):
            proposals[draft.sample.id].append(proposal)
        asked = [draft for draft in batch if draft.absent or not draft.is_answered]
        against: dict[str, list[float]] = {draft.sample.id: [] for draft in asked if draft.absent}
        for proposer in self.proposers:
            masks = proposer.propose([d.image_HWC for d in asked], [d.asked for d in asked])
            for draft, (mask_HW, score) in zip(asked, masks, strict=True):
                if draft.absent:
                    against[draft.sample.id].append(score if mask_HW.any() else 0.0)
                else:
                    proposal = Proposal(proposer.name, rle.encode(mask_HW), score, support=score)
                    proposals[draft.sample.id].append(proposal)
        return Outcome([self._kept(draft, proposals, against) for draft in batch], [])

    def _kept(self, draft: Draft, proposals: dict[str, list[Proposal]], against: dict[str, list[float]]) -> Draft:
        if draft.absent:
            return draft.scored(agreement=1 - fmean(against[draft.sample.id])) if self.proposers else draft
        return replace(draft, proposals=tuple(proposals.get(draft.sample.id, ())))

    def _from_boxes(self, drafts: Sequence[Draft]) -> list[Proposal]:
        chosen = [[c for c in d.candidates if c.chosen and c.role == "target"] for d in drafts]
        images: dict[bytes, np.ndarray] = {}
        prompts: dict[bytes, list[Candidate]] = {}
        for draft, picks in zip(drafts, chosen, strict=True):
            images[draft.sample.image] = draft.image_HWC
            prompts.setdefault(draft.sample.image, []).extend(picks)
        found = self.segmenter.segment(list(images.values()), [[c.box for c in picks] for picks in prompts.values()])
        parts = {key: iter(_rows(segmentation)) for key, segmentation in zip(prompts, found, strict=True)}
        return [
            self._proposal([next(parts[draft.sample.image]) for _ in picks], picks)
            for draft, picks in zip(drafts, chosen, strict=True)
        ]

    def _proposal(self, rows: list[tuple[np.ndarray, float, float]], chosen: list[Candidate]) -> Proposal:
        masks, predicted_iou, stability = zip(*rows, strict=True)
        mask = rle.encode(np.logical_or.reduce(masks))
        least = min(map(support, chosen))
        expert = f"{chosen[0].expert}+{self.segmenter.name}"
        return Proposal(expert, mask, least, least, min(predicted_iou), min(stability))


def _rows(segmentation: Segmentation) -> list[tuple[np.ndarray, float, float]]:
    return [
        (mask_HW, float(iou), float(stability))
        for mask_HW, iou, stability in zip(
            segmentation.mask_NHW, segmentation.predicted_iou_N, segmentation.stability_N, strict=True
        )
    ]
