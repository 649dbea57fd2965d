"""Phrases -> boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ivm_data.experts.base import Grounder
from ivm_data.stages.base import Draft, Outcome
from storage.records import Candidate, Rewrite, Role


class GroundStage:
    """Rewritten draft -> draft with target and anchor `candidates`, best first for each phrase.

    A draft without any box is kept: whether its target is absent is for the resolve stage to say.
    """

    name = "ground"

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ground every phrase of every draft, the anchor's too."""
        phrases = [spoken_phrases(draft.rewrite) for draft in batch]
        found = self.grounder.ground([draft.image_HWC for draft in batch], phrases)
        kept = []
        for draft, detections in zip(batch, found, strict=True):
            candidates = tuple(
                Candidate(self.grounder.name, hit.phrase, role, hit.box, hit.score)
                for hit in detections
                for role in _roles(hit.phrase, draft.rewrite)
            )
            kept.append(replace(draft, candidates=candidates))
        return Outcome(kept, [])


def _roles(phrase: str, rewrite: Rewrite) -> Iterator[Role]:
    """A phrase may be a target and the anchor at once: "the star left of the star"."""
    if phrase in rewrite.phrases:
        yield "target"
    if phrase == rewrite.anchor:
        yield "anchor"


def spoken_phrases(rewrite: Rewrite) -> list[str]:
    """Target phrases and the anchor, each once, in order."""
    return list(dict.fromkeys([*rewrite.phrases, *([rewrite.anchor] if rewrite.anchor else [])]))
