"""Instruction -> target phrases, anchor and relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ivm_data.experts.common.protocols import Rewriter
from ivm_data.stages.stage import Draft, Outcome


class RewriteStage:
    """Sample -> draft with `rewrite`, or a rejection `not_rewritten`."""

    name = "rewrite"

    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask once for each distinct instruction of the batch."""
        instructions = list(dict.fromkeys(draft.sample.instruction for draft in batch))
        rewrites = dict(zip(instructions, self.rewriter.rewrite(instructions), strict=True))
        kept, rejected = [], []
        for draft in batch:
            rewrite = rewrites[draft.sample.instruction]
            if rewrite.phrases:
                kept.append(replace(draft, rewrite=rewrite).scored(understood=rewrite.understood))
            else:
                rejected.append(draft.reject(self.name, "not_rewritten", "no target phrase in the answer"))
        return Outcome(kept, rejected)
