"""Instruction -> request: the things to look at, the whole image, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ivm_data.experts.common.protocols import Rewriter
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked
from storage.records import Rejection
from storage.request import Request

LEAST_UNDERSTOOD = 0.5
"""Share of known words below which an answer that cannot be used is the words' fault."""
SHOWN = 200
"""Characters of an answer that a rejection's detail shows; its column `answer` has all of them."""


@dataclass(frozen=True)
class RewriteConfig(Checked):
    """How instructions are rewritten.

    Attributes:
        sees_image: show the rewriter the image, which "what is he holding?" needs. Without it an instruction is asked
            about once, however many images have it.
    """

    sees_image: bool = False


class RewriteStage:
    """Sample -> draft with `request`, or a rejection.

    `not_understood` where the rewriter knows less than half of the words, else `not_rewritten` or
    `nothing_to_point_at`.
    """

    name = "rewrite"

    def __init__(self, rewriter: Rewriter, config: RewriteConfig | None = None) -> None:
        self.rewriter = rewriter
        self.config = config or RewriteConfig()

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask once for each distinct instruction of the batch, or for each draft where the rewriter sees its image."""
        kept, rejected = [], []
        for draft, request in zip(batch, self._requests(batch), strict=True):
            ended = self._ended(draft, request)
            if ended:
                rejected.append(ended)
            else:
                kept.append(replace(draft, request=request).scored(understood=request.understood))
        return Outcome(kept, rejected)

    def _requests(self, batch: Sequence[Draft]) -> list[Request]:
        if self.config.sees_image:
            return self.rewriter.rewrite([d.sample.instruction for d in batch], [d.image_HWC for d in batch])
        instructions = list(dict.fromkeys(draft.sample.instruction for draft in batch))
        requests = dict(zip(instructions, self.rewriter.rewrite(instructions), strict=True))
        return [requests[draft.sample.instruction] for draft in batch]

    def _ended(self, draft: Draft, request: Request) -> Rejection | None:
        if request.scope == "nothing":
            reason, why = "nothing_to_point_at", "the rewriter finds nothing to look at"
        elif request.scope == "things" and not request.things:
            reason, why = "not_rewritten", "; ".join(request.notes) or "no answer"
        else:
            return None
        if request.understood < LEAST_UNDERSTOOD:
            reason, why = "not_understood", f"of the words {request.understood:.0%} are known to the rewriter; {why}"
        shown = request.answer if len(request.answer) <= SHOWN else request.answer[:SHOWN] + "..."
        rejection = draft.reject(self.name, reason, f"{why}; the answer is {shown!r}")
        return replace(rejection, answer=request.answer)
