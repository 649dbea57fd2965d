"""Which boxes answer an instruction: pure geometry and scores, shared by every expert that offers boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from storage.pixels.overlap import box_iou
from storage.records import Box, Candidate, Rewrite
from storage.validation import Checked, Share

DIRECTIONS = {"left of": (-1.0, 0.0), "right of": (1.0, 0.0), "above": (0.0, -1.0), "below": (0.0, 1.0)}
"""Unit vector from the anchor to the target for each relation, in image axes (y grows downward)."""


@dataclass(frozen=True)
class ChooseConfig(Checked):
    """How candidates become the answer.

    Attributes:
        min_support: a candidate of an instruction that asks for "all" counts from this support on.
        same_object_iou: two boxes that overlap more than this show the same object.
    """

    min_support: Share = 0.25
    same_object_iou: Share = 0.6


@dataclass(frozen=True)
class Choice:
    """The candidates with `relation` and `chosen` set, and the least margin to a runner-up (1 where there is none)."""

    candidates: tuple[Candidate, ...]
    margin: float

    @property
    def chosen(self) -> list[Candidate]:
        """Chosen targets, without the anchor."""
        return [candidate for candidate in self.candidates if candidate.chosen and candidate.role == "target"]


def choose(candidates: Sequence[Candidate], rewrite: Rewrite, config: ChooseConfig) -> Choice:
    """Pick the anchor, score each target's relation to it, then pick one target a phrase, or all that match."""
    anchor = max((c for c in candidates if c.role == "anchor"), key=support, default=None)
    related = [
        replace(c, relation=relation_fit(c.box, rewrite.relation, anchor.box, config.same_object_iou))
        if anchor is not None and c.role == "target" and rewrite.relation in DIRECTIONS
        else replace(c, chosen=c is anchor)
        for c in candidates
    ]
    taken: list[Candidate] = []
    margins = [1.0]
    for phrase in rewrite.phrases:
        ranked = sorted(
            (c for c in related if c.role == "target" and c.phrase == phrase and not _is_taken(c, taken, config)),
            key=support,
            reverse=True,
        )
        if rewrite.quantity == "all":
            taken += [c for c in ranked if support(c) >= config.min_support]
        elif ranked:
            taken.append(ranked[0])
            margins.append(support(ranked[0]) - (support(ranked[1]) if len(ranked) > 1 else 0.0))
    chosen = tuple(replace(c, chosen=True) if any(c is t for t in taken) else c for c in related)
    return Choice(chosen, min(margins))


def support(candidate: Candidate) -> float:
    """Geometric mean of the scores that are known: grounder, verifier, relation; in [0, 1]."""
    known = [s for s in (candidate.score, candidate.p_yes, candidate.relation) if not math.isnan(s)]
    return math.prod(known) ** (1 / len(known))


def relation_fit(target: Box, relation: str, anchor: Box, same_object_iou: float = 0.6) -> float:
    """Cosine between the displacement of the box centres and the relation's direction, cut at 0.

    An object has no relation to itself: boxes that overlap beyond `same_object_iou` fit with 0.
    """
    if box_iou(target, anchor) > same_object_iou:
        return 0.0
    dx, dy = target.center[0] - anchor.center[0], target.center[1] - anchor.center[1]
    length = math.hypot(dx, dy)
    direction = DIRECTIONS[relation]
    return max(0.0, (dx * direction[0] + dy * direction[1]) / length) if length else 0.0


def _is_taken(candidate: Candidate, taken: Sequence[Candidate], config: ChooseConfig) -> bool:
    return any(box_iou(candidate.box, other.box) > config.same_object_iou for other in taken)
