"""Candidates -> the boxes that answer the instruction, or the finding that there are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ivm_data.experts.common.protocols import Verifier
from ivm_data.experts.lmms import prompts
from ivm_data.selection import ChooseConfig, choose, support
from ivm_data.stages.stage import Draft, Outcome
from storage.records import MISSING, Candidate
from storage.validation import Checked, Count, NotNegative, Share


@dataclass(frozen=True)
class ResolveConfig(Checked):
    """How candidates are verified and chosen.

    Attributes:
        max_candidates: verify at most this many boxes a phrase; the rest is dropped.
        crop_context: margin around a candidate's box in the verifier's crop, as a share of the box.
        absent_below: a phrase seems absent when neither its presence, nor the grounder's own score of a box, nor a
            box's support reaches this; the target is absent when every phrase seems so. The score counts by itself
            because presence and P(yes) come from one LMM and err together: without it the LMM outvotes a sure grounder.
        choose: see `ChooseConfig`.
    """

    max_candidates: Count = 6
    crop_context: NotNegative = prompts.CANDIDATE_CONTEXT
    absent_below: Share = 0.5
    choose: ChooseConfig = field(default_factory=ChooseConfig)


class ResolveStage:
    """Grounded draft -> draft with chosen candidates or `absent`, or a rejection `no_box`.

    A draft with a box for some of its phrases goes on: a person can fix half a mask, not a rejection. A person's boxes
    are chosen already: neither verified nor dropped.
    """

    name = "resolve"

    def __init__(self, verifier: Verifier, config: ResolveConfig) -> None:
        self.verifier = verifier
        self.config = config

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask the verifier about each phrase's presence and each candidate, then choose."""
        batch = [replace(draft, candidates=self._best(draft)) for draft in batch]
        presence = self._presence(batch)
        kept, rejected = [], []
        for draft, present in zip(self._verified(batch), presence, strict=True):
            resolved = decide(draft, present, self.config)
            if len(resolved.unfound) < len(draft.rewrite.phrases):
                kept.append(resolved)
            else:
                detail = f"P(present) = {max(present):.2f}, but no box for {', '.join(map(repr, resolved.unfound))}"
                rejected.append(draft.reject(self.name, "no_box", detail))
        return Outcome(kept, rejected)

    def _best(self, draft: Draft) -> tuple[Candidate, ...]:
        ranks: dict[tuple[str, str], int] = {}
        best = []
        for candidate in draft.candidates:
            key = (candidate.role, candidate.phrase)
            ranks[key] = ranks.get(key, 0) + 1
            if candidate.chosen or ranks[key] <= self.config.max_candidates:
                best.append(candidate)
        return tuple(best)

    def _presence(self, batch: Sequence[Draft]) -> list[list[float]]:
        """P(yes) of each target phrase of each draft."""
        asked = [(draft, phrase) for draft in batch for phrase in draft.rewrite.phrases]
        answers = iter(
            self.verifier.p_yes(
                [draft.image_HWC for draft, _ in asked],
                [prompts.PRESENCE.format(phrase=phrase) for _, phrase in asked],
            )
        )
        return [[float(next(answers)) for _ in draft.rewrite.phrases] for draft in batch]

    def _verified(self, batch: Sequence[Draft]) -> list[Draft]:
        """Every candidate that is not chosen yet with its own P(yes) on a crop around its box."""
        from ivm_model.masking import crop_box  # OpenCV, which a recipe does not need

        asked = [(draft, candidate) for draft in batch for candidate in draft.candidates if not candidate.chosen]
        answers = iter(
            self.verifier.p_yes(
                [crop_box(draft.image_HWC, c.box, self.config.crop_context) for draft, c in asked],
                [prompts.CANDIDATE.format(phrase=c.phrase) for _, c in asked],
            )
            if asked
            else ()
        )
        return [
            replace(
                draft,
                candidates=tuple(c if c.chosen else replace(c, p_yes=float(next(answers))) for c in draft.candidates),
            )
            for draft in batch
        ]


def decide(draft: Draft, present: Sequence[float], config: ResolveConfig) -> Draft:
    """A verified draft with its candidates chosen, or `absent`.

    Args:
        present: P(yes) of each target phrase, that it is somewhere in the image.
    """
    scored = draft.scored(presence=min(present))
    if draft.sample.human_boxes:
        return scored
    choice = choose(draft.candidates, draft.rewrite, config.choose)
    targets = [c for c in draft.candidates if c.role == "target"]
    signs = [*present, *(c.score for c in targets), *map(support, targets)]
    if max(signs) < config.absent_below:
        return replace(scored, absent=True).scored(grounding=max((c.score for c in targets), default=0.0))
    chosen = choice.chosen
    if not chosen:
        return scored
    relations = [c.relation for c in chosen if not math.isnan(c.relation)]
    return replace(scored, candidates=choice.candidates).scored(
        grounding=min(c.score for c in chosen),
        margin=choice.margin,
        candidate=min(c.p_yes for c in chosen),
        relation=min(relations, default=MISSING),
    )
