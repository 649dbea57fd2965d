"""Scores -> a decision: the draft becomes a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from ivm_data.quality.calibration import Calibration, Uncalibrated
from ivm_data.stages.stage import Draft
from storage.gates.gate import GateConfig
from storage.pixels import rle
from storage.records import MISSING, Label, Lineage, Rejection, Scores, Status

TRACKER = "tracker"
"""Role of the expert that carries masks; it is behind the labels that were carried alone."""


class GateStage:
    """Verified draft -> label: accepted, review, rejected, no_target or whole_image, with a reason code.

    A draft whose scores give no number for the quality is rejected with `no_quality`: every rule would let it pass.
    """

    name = "gate"

    def __init__(self, calibration: Calibration | Uncalibrated, config: GateConfig, lineage: Lineage) -> None:
        self.calibration = calibration
        self.config = config
        self.lineage = lineage
        self._untracked = replace(lineage, experts=tuple(one for one in lineage.experts if one[0] != TRACKER))

    def run(self, batch: Sequence[Draft]) -> list[Label | Rejection]:
        """One label or rejection for each draft."""
        return [self._label(draft) for draft in batch]

    def _quality(self, draft: Draft) -> float:
        """Calibrated; of a whole image, for which no calibration is fitted, the verifier's P(yes)."""
        if _answer(draft) == "whole image":
            return draft.scores.verification
        return self.calibration.quality(draft.scores, draft.absent)

    def _label(self, draft: Draft) -> Label | Rejection:
        sample, quality = draft.sample, self._quality(draft)
        if not math.isfinite(quality):
            scores = ", ".join(
                f"{name} {value:.3g}" for name, value in asdict(draft.scores).items() if name != "quality"
            )
            return draft.reject(self.name, "no_quality", f"quality is {quality:g} from {scores}")
        draft = draft.scored(quality=quality)
        status, reason = decide(draft.scores, _answer(draft), bool(draft.unfound), self.config)
        mask = draft.mask or rle.encode(np.zeros((sample.height, sample.width), bool))
        human_iou = MISSING if sample.human_mask is None else rle.iou(mask, sample.human_mask)
        return Label(
            sample, draft.request, draft.candidates, draft.proposals, mask, draft.scores,
            status, reason, self.lineage if draft.tracked_from else self._untracked, human_iou, draft.tracked_from,
        )  # fmt: skip


Answer = Literal["mask", "absent", "whole image"]
"""What a draft says: these pixels, none, or all of them."""


def _answer(draft: Draft) -> Answer:
    if draft.absent:
        return "absent"
    return "whole image" if draft.request.scope == "whole image" else "mask"


def decide(scores: Scores, answer: Answer, incomplete: bool, config: GateConfig) -> tuple[Status, str]:
    """Status and reason code; a rule that sends to review never hides a worse one.

    Args:
        incomplete: a target phrase has no box, so the mask can hold only a part of what is asked for.
    """
    if scores.quality < config.reject:
        return Status.REJECTED, "low_quality"
    if answer == "mask" and not config.min_area_ratio <= scores.area_ratio <= config.max_area_ratio:
        return Status.REJECTED, "area_outlier"
    doubts = {
        "not_understood": scores.understood < config.min_understood,
        "incomplete": incomplete,
        "experts_disagree": scores.agreement < config.min_agreement,
        "inconsistent": scores.consistency < config.min_consistency,
        "uncertain": scores.quality < config.accept,
    }
    for reason, holds in doubts.items():
        if holds:
            return Status.REVIEW, reason
    return _ACCEPTED[answer]


_ACCEPTED: dict[Answer, tuple[Status, str]] = {
    "mask": (Status.ACCEPTED, "ok"),
    "absent": (Status.NO_TARGET, "target_absent"),
    "whole image": (Status.WHOLE_IMAGE, "whole_image"),
}
