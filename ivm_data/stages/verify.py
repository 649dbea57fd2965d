"""Mask -> is it sufficient, and is it minimal?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import Verifier
from ivm_data.experts.lmms import prompts
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked, within
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.windows import Window, square
from storage.records import MISSING, Box

SHRINK = 1.25
"""A picture is also shown from near where the verifier sees it smaller by more than this factor."""
ROOM = 1.5
"""Sides of the box around a mask that the part around it is long, at least."""


@dataclass(frozen=True)
class VerifyConfig(Checked):
    """What the verifier sees.

    Attributes:
        dim: how far pixels outside the mask fade to white, 1 for all the way.
        near: where the verifier sees the picture smaller than it is, ask both questions a second time, about the part
            around the mask and what describes it, at full resolution.
    """

    dim: Annotated[float, within("(0, 1]")] = prompts.VERIFY_DIM
    near: bool = False


class VerifyStage:
    """Fused draft -> draft with the verifier's two answers.

    On the kept pixels the LMM should be able to follow the instruction (sufficient); on the complement it should no
    longer find the target (minimal in the sense that nothing needed was left out). verification = P(yes | kept) *
    (1 - P(yes | complement)). Where the whole image is needed there is no complement: verification = P(yes | kept).

    Of a picture that is also shown from near each answer is the greater of the two: what is seen from either distance
    is there.
    """

    name = "verify"

    def __init__(self, verifier: Verifier, config: VerifyConfig) -> None:
        self.verifier = verifier
        self.config = config

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask both questions for each draft that has a mask.

        Raises:
            ConfigError: `near` with a verifier that has no `input_size`.
        """
        views = {draft.sample.id: self._views(draft) for draft in batch if draft.mask is not None}
        shown = [one for of_one in views.values() for one in of_one]
        p_yes = iter(map(float, self.verifier.p_yes([one.image_HWC for one in shown], [one.question for one in shown])))
        answers: dict[str, dict[str, float]] = {}
        for sample, of_one in views.items():
            for one in of_one:
                known = answers.setdefault(sample, {})
                known[one.asked] = max(known.get(one.asked, 0.0), next(p_yes))
        return Outcome([_scored(draft, answers.get(draft.sample.id)) for draft in batch], [])

    def _views(self, draft: Draft) -> list[_View]:
        """What is asked about a draft with a mask."""
        from ivm_model.masking import complement, keep_only  # OpenCV, which a recipe does not need

        assert draft.mask is not None
        mask_HW = rle.decode(draft.mask)
        kept = prompts.VERIFY.format(instruction=draft.sample.instruction)
        views = [_View("kept", keep_only(draft.image_HWC, mask_HW, dim=self.config.dim), kept)]
        if not draft.is_answered:
            rest = prompts.COMPLEMENT.format(phrases=prompts.wanted(draft.request))
            views.append(_View("rest", complement(draft.image_HWC, mask_HW), rest))
            if window := self._window(draft):
                views += [replace(one, image_HWC=window.cut(one.image_HWC)) for one in views]
        return views

    def _window(self, draft: Draft) -> Window | None:
        """The part of a picture that shows its mask, and what describes it, at full resolution.

        None where the verifier sees the whole picture so, or the mask is empty or too long for a part.
        """
        assert draft.mask is not None
        size, box = draft.image_HWC.shape[:2], rle.bbox(draft.mask)
        if not self.config.near or box is None:
            return None
        seen = getattr(self.verifier, "input_size", None)
        if not isinstance(seen, InputSize):
            raise ConfigError(f"{self.verifier.name} does not say how large a picture it sees; set verify.near=false")
        if seen.scale(size) * SHRINK >= 1:
            return None
        boxes = [box, *(one.box for one in draft.candidates if one.chosen)]
        around = Box(
            min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes)
        )
        longest = max(around.x1 - around.x0, around.y1 - around.y0)
        window = square(around, size, max(seen.short, math.ceil(ROOM * longest)))
        return None if (window.y1 - window.y0, window.x1 - window.x0) == size else window


@dataclass(frozen=True)
class _View:
    """A picture, and which of the two questions is asked about it: `asked` is "kept" or "rest"."""

    asked: str
    image_HWC: np.ndarray
    question: str


def _scored(draft: Draft, answer: dict[str, float] | None) -> Draft:
    if answer is None:
        return draft
    kept, rest = answer["kept"], answer.get("rest", MISSING)
    verification = kept if math.isnan(rest) else kept * (1 - rest)
    return draft.scored(p_yes_kept=kept, p_yes_complement=rest, verification=verification)
