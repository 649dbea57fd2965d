"""Candidates -> the boxes that answer the instruction, or the finding that there are none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ivm_data.experts.common.distinct_questions import p_yes_once
from ivm_data.experts.common.protocols import Verifier
from ivm_data.experts.lmms import prompts
from ivm_data.selection import ChooseConfig, choose, support
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked, Count, NotNegative, Share
from storage.records import MISSING, Candidate


@dataclass(frozen=True)
class ResolveConfig(Checked):
    """How candidates are verified and chosen.

    Attributes:
        max_candidates: verify at most this many boxes a phrase; the rest is dropped.
        in_context: ask about each of several candidates of a target a second time, outlined in the whole image, with
            the instruction's own words. For LMMs that understand relations; the embedded one does not.
        crop_context: margin around a candidate's box in the verifier's crop, as a share of the box.
        absent_below: a phrase seems absent when neither its presence, nor the grounder's own score of a box, nor a
            box's support reaches this; the target is absent when every phrase seems so. The score counts by itself
            because presence and P(yes) come from one LMM and err together: without it the LMM outvotes a sure grounder.
        choose: see `ChooseConfig`.
    """

    max_candidates: Count = 6
    in_context: bool = False
    crop_context: NotNegative = prompts.CANDIDATE_CONTEXT
    absent_below: Share = 0.5
    choose: ChooseConfig = field(default_factory=ChooseConfig)


class ResolveStage:
    """Grounded draft -> draft with chosen candidates or `absent`, or a rejection `no_box`.

    A draft with a box for some of its phrases goes on: a person can fix half a mask, not a rejection. A person's boxes
    are chosen already: neither verified nor dropped.
    """

    name = "resolve"

    def __init__(self, verifier: Verifier, config: ResolveConfig, grounders: int = 1) -> None:
        """Args: grounders: how many were asked for the candidates."""
        self.verifier = verifier
        self.config = config
        self.grounders = grounders

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ask the verifier about each phrase's presence and each candidate, then choose."""
        asked = [replace(draft, candidates=self._best(draft)) for draft in batch if not draft.is_answered]
        presence = self._presence(asked)
        resolved = zip(self._in_context(self._verified(asked)), presence, strict=True)
        kept, rejected = [], []
        for draft in batch:
            if draft.is_answered:
                kept.append(draft)
                continue
            decided = decide(*next(resolved), self.config, self.grounders)
            if not decided.unfound or len(decided.unfound) < len(draft.request.targets):
                kept.append(decided)
            else:
                unfound = ", ".join(map(repr, decided.unfound))
                detail = f"P(present) = {decided.scores.presence:.2f}, but no box for {unfound}"
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
        asked = [(draft, phrase) for draft in batch for phrase in draft.request.phrases]
        answers = iter(
            p_yes_once(
                self.verifier,
                [draft.image_HWC for draft, _ in asked],
                [prompts.PRESENCE.format(phrase=phrase) for _, phrase in asked],
            )
        )
        return [[float(next(answers)) for _ in draft.request.phrases] for draft in batch]

    def _verified(self, batch: Sequence[Draft]) -> list[Draft]:
        """Every candidate that is not chosen yet with its own P(yes) on a crop around its box."""
        from ivm_model.masking import crop_box, crop_window  # OpenCV, which a recipe does not need

        asked = [(draft, candidate) for draft in batch for candidate in draft.candidates if not candidate.chosen]
        crops: dict[tuple[int, tuple[int, int, int]], np.ndarray] = {}
        shown = []
        for draft, c in asked:
            key = id(draft.image_HWC), crop_window(draft.image_HWC.shape[:2], c.box, self.config.crop_context)
            if key not in crops:
                crops[key] = crop_box(draft.image_HWC, c.box, self.config.crop_context)
            shown.append(crops[key])
        questions = [prompts.CANDIDATE.format(phrase=c.phrase) for _, c in asked]
        answers = iter(p_yes_once(self.verifier, shown, questions))
        return [
            replace(
                draft,
                candidates=tuple(c if c.chosen else replace(c, p_yes=float(next(answers))) for c in draft.candidates),
            )
            for draft in batch
        ]

    def _in_context(self, batch: Sequence[Draft]) -> Sequence[Draft]:
        """Every target of a draft that has to be chosen among several, with its P(yes) in the whole image."""
        if not self.config.in_context:
            return batch
        from ivm_model.masking import outlined  # OpenCV, which a recipe does not need

        doubtful = [draft for draft in batch if len(_open_targets(draft)) > 1]
        asked = [(draft, c) for draft in doubtful for c in _open_targets(draft)]
        if not asked:
            return batch
        p_yes = self.verifier.p_yes(
            [outlined(draft.image_HWC, c.box) for draft, c in asked],
            [prompts.IN_CONTEXT.format(instruction=draft.sample.instruction) for draft, _ in asked],
        )
        answers = {id(c): float(p) for (_, c), p in zip(asked, p_yes, strict=True)}
        return [
            replace(
                draft,
                candidates=tuple(replace(c, in_context=answers.get(id(c), c.in_context)) for c in draft.candidates),
            )
            for draft in batch
        ]


def _open_targets(draft: Draft) -> list[Candidate]:
    return [c for c in draft.candidates if c.role == "target" and not c.chosen]


def decide(draft: Draft, present: Sequence[float], config: ResolveConfig, grounders: int = 1) -> Draft:
    """A verified draft with its candidates chosen, or `absent`.

    Args:
        present: P(yes) of each target phrase, that it is somewhere in the image.
        grounders: how many were asked for the candidates.
    """
    request = draft.request
    by_phrase = dict(zip(request.phrases, present, strict=True))
    options = [[request.things[i].phrase for i in request.options(target)] for target in request.targets]
    presence = min((max(by_phrase[phrase] for phrase in phrases) for phrases in options), default=MISSING)
    scored = draft.scored(presence=presence)
    if draft.sample.human_boxes:
        return scored
    choice = choose(draft.candidates, request, config.choose)
    targets = [c for c in draft.candidates if c.role == "target"]
    signs = [*present, *(c.score for c in targets), *map(support, targets)]
    # Writing is what detectors find least: that none was found says little.
    if max(signs) < config.absent_below and not any(request.things[i].reads for i in request.targets):
        return replace(scored, absent=True).scored(grounding=max((c.score for c in targets), default=0.0))
    chosen = choice.chosen
    if not chosen:
        return scored
    return replace(scored, candidates=choice.candidates).scored(
        grounding=min(c.score for c in chosen),
        margin=choice.margin,
        candidate=min(c.p_yes for c in chosen),
        relation=_least(c.relation for c in chosen),
        in_context=_least(c.in_context for c in chosen),
        witnessed=_least(_witnessed(c, grounders) for c in chosen),
    )


def _witnessed(candidate: Candidate, grounders: int) -> float:
    return len({witness.expert for witness in candidate.witnesses}) / grounders if grounders > 1 else MISSING


def _least(scores: Iterable[float]) -> float:
    """The least of those that are known."""
    return min((score for score in scores if not math.isnan(score)), default=MISSING)
