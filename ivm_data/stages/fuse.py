"""Proposals -> one soft heatmap and one mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Annotated

import numpy as np

from ivm_data.quality.calibration import Calibration, Uncalibrated
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked, within
from storage.pixels import rle
from storage.records import MISSING


@dataclass(frozen=True)
class FuseConfig(Checked):
    """How the proposals vote.

    Attributes:
        threshold: a pixel belongs to the mask when its vote exceeds this.
    """

    threshold: Annotated[float, within("[0, 1)")] = 0.5


class FuseStage:
    """Segmented draft -> draft with `mask` and per-expert agreement, or a rejection `empty_mask`.

    The heatmap is the score-weighted vote of the proposals, sum(score_i * mask_i) / sum(score_i), where a score is the
    calibrated probability that the expert's mask is right given its support. Where two experts disagree the likelier
    one wins, and their low agreement is recorded for the gate. Where no expert has any support for its mask, as where
    nothing stands in the relation that the instruction names, the mask of the chosen boxes stands, for the gate to
    judge.
    """

    name = "fuse"

    def __init__(self, calibration: Calibration | Uncalibrated, config: FuseConfig) -> None:
        self.calibration = calibration
        self.config = config

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Vote for each draft."""
        kept, rejected = [], []
        for draft in batch:
            fused = _without_proposals(draft) if draft.is_answered else self._fuse(draft)
            if fused is None:
                detail = f"the vote of {len(draft.proposals)} proposals leaves no pixel above {self.config.threshold}"
                rejected.append(draft.reject(self.name, "empty_mask", detail))
            else:
                kept.append(fused)
        return Outcome(kept, rejected)

    def _fuse(self, draft: Draft) -> Draft | None:
        proposals = [replace(p, score=self.calibration.vote(p)) for p in draft.proposals]
        drawn = [p for p in proposals if rle.area(p.mask)]
        voters = [p for p in drawn if p.score > 0] or drawn[:1]
        if not voters:
            return None
        heatmap_HW = rle.vote([p.mask for p in voters], [p.score or 1.0 for p in voters])
        mask = rle.encode(heatmap_HW > self.config.threshold)
        area = rle.area(mask)
        if not area:
            return None
        fused = tuple(replace(p, iou_with_label=rle.iou(p.mask, mask)) for p in proposals)
        pairs = [rle.iou(a.mask, b.mask) for a, b in combinations(fused, 2)]
        known_iou = [p.predicted_iou for p in fused if p.predicted_iou == p.predicted_iou]
        known_stability = [p.stability for p in fused if p.stability == p.stability]
        return replace(draft, proposals=fused, mask=mask).scored(
            predicted_iou=min(known_iou, default=MISSING),
            stability=min(known_stability, default=MISSING),
            agreement=fmean(pairs) if pairs else MISSING,
            area_ratio=area / (mask.height * mask.width),
        )


def _without_proposals(draft: Draft) -> Draft:
    """An absent target has no mask; an instruction about the whole image has all of it."""
    if draft.absent:
        return draft
    return replace(draft, mask=rle.encode(np.ones(draft.image_HWC.shape[:2], bool))).scored(area_ratio=1.0)
