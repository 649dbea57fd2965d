"""Parts of a recipe as systems of their own: a mask proposer, or a grounder with a segmenter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivm_data.engine.pipeline import decoded, run_isolated
from ivm_data.experts.common.protocols import MaskProposer, Rewriter, Segmenter
from ivm_data.selection import ChooseConfig, choose
from ivm_data.stages.ground import GroundStage
from ivm_data.stages.rewrite import RewriteStage
from ivm_data.stages.stage import Draft
from storage.records import Candidate, Sample


class Proposing:
    """A mask proposer, given the rewriter's words; what the rewriter cannot read has an empty mask."""

    def __init__(self, name: str, rewriter: Rewriter, proposer: MaskProposer) -> None:
        self.name, self._rewrite, self._proposer = name, RewriteStage(rewriter), proposer

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """See `System`."""
        drafts = run_isolated(self._rewrite, decoded(samples).kept).kept
        proposed = self._proposer.propose([d.image_HWC for d in drafts], [d.asked for d in drafts])
        found = {draft.sample.id: mask_HW for draft, (mask_HW, _) in zip(drafts, proposed, strict=True)}
        return _in_order(samples, found)


class Boxes:
    """The grounders' best box of each phrase, by geometry where a relation is asked for, through the segmenter."""

    def __init__(
        self, name: str, rewriter: Rewriter, ground: GroundStage, segmenter: Segmenter, config: ChooseConfig
    ) -> None:
        self.name, self._config, self._segmenter = name, config, segmenter
        self._stages = (RewriteStage(rewriter), ground)

    def masks(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """See `System`."""
        drafts = decoded(samples).kept
        for stage in self._stages:
            drafts = run_isolated(stage, drafts).kept
        boxes = [[candidate.box for candidate in self._chosen(draft)] for draft in drafts]
        masks = self._segmenter.segment([draft.image_HWC for draft in drafts], boxes)
        found = {d.sample.id: np.asarray(m.mask_NHW.any(axis=0)) for d, m in zip(drafts, masks, strict=True)}
        return _in_order(samples, found)

    def _chosen(self, draft: Draft) -> list[Candidate]:
        return choose(draft.candidates, draft.request, self._config).chosen


def _in_order(samples: Sequence[Sample], found: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [found.get(s.id, np.zeros((s.height, s.width), bool)) for s in samples]
