"""Mask -> is it sufficient, and is it minimal?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ivm_data.experts.common.protocols import Verifier
from ivm_data.experts.lmms import prompts
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked, within
from storage.pixels import rle
from storage.records import MISSING


@dataclass(frozen=True)
class VerifyConfig(Checked):
    """What the verifier sees.

    Attributes:
        dim: how far pixels outside the mask fade to white, 1 for all the way.
    """

    dim: Annotated[float, within("(0, 1]")] = prompts.VERIFY_DIM


class VerifyStage:
    """Fused draft -> draft with the verifier's two answers.

    On the kept pixels the LMM should be able to follow the instruction (sufficient); on the complement it should no
    longer find the target (minimal in the sense that nothing needed was left out). verification = P(yes | kept) *
    (1 - P(yes | complement)). Where the whole image is needed there is no complement: verification = P(yes | kept).
    """

    name = "verify"

    def __init__(self, verifier: Verifier, config: VerifyConfig) -> None:
        self.verifier = verifier
        self.config = config

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask both questions for each draft that has a mask."""
        from ivm_model.masking import complement, keep_only  # OpenCV, which a recipe does not need

        drafts = [draft for draft in batch if draft.mask is not None]
        images, questions = [], []
        for draft in drafts:
            assert draft.mask is not None
            mask_HW = rle.decode(draft.mask)
            images.append(keep_only(draft.image_HWC, mask_HW, dim=self.config.dim))
            questions.append(prompts.VERIFY.format(instruction=draft.sample.instruction))
            if not draft.is_answered:
                images.append(complement(draft.image_HWC, mask_HW))
                questions.append(prompts.COMPLEMENT.format(phrases=prompts.wanted(draft.request)))
        p_yes = iter(map(float, self.verifier.p_yes(images, questions)))
        answers = {d.sample.id: (next(p_yes), MISSING if d.is_answered else next(p_yes)) for d in drafts}
        return Outcome([_scored(draft, answers.get(draft.sample.id)) for draft in batch], [])


def _scored(draft: Draft, answer: tuple[float, float] | None) -> Draft:
    if answer is None:
        return draft
    kept, rest = answer
    verification = kept if math.isnan(rest) else kept * (1 - rest)
    return draft.scored(p_yes_kept=kept, p_yes_complement=rest, verification=verification)
