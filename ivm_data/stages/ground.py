"""Phrases -> boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ivm_data.experts.common.protocols import Grounder
from ivm_data.stages.stage import Draft, Outcome
from storage.records import HUMAN, Candidate, Rewrite, Role


class GroundStage:
    """Rewritten draft -> draft with target and anchor `candidates`, best first for each phrase.

    A draft without any box is kept: whether its target is absent is for the resolve stage to say. Where a person drew
    boxes nothing is searched: they are the candidates, and chosen already.
    """

    name = "ground"

    def __init__(self, grounder: Grounder) -> None:
        self.grounder = grounder

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ground every phrase of every draft, the anchor's too."""
        searched = [draft for draft in batch if not draft.sample.human_boxes]
        found = iter(self._search(searched) if searched else ())
        candidates = [_drawn(draft) if draft.sample.human_boxes else next(found) for draft in batch]
        return Outcome([replace(d, candidates=c) for d, c in zip(batch, candidates, strict=True)], [])

    def _search(self, drafts: Sequence[Draft]) -> list[tuple[Candidate, ...]]:
        found = self.grounder.ground([d.image_HWC for d in drafts], [spoken_phrases(d.rewrite) for d in drafts])
        return [
            tuple(
                Candidate(self.grounder.name, hit.phrase, role, hit.box, hit.score)
                for hit in detections
                for role in _roles(hit.phrase, draft.rewrite)
            )
            for draft, detections in zip(drafts, found, strict=True)
        ]


def _drawn(draft: Draft) -> tuple[Candidate, ...]:
    """The person's boxes; which of several phrases each of them shows is not known."""
    phrase = " and ".join(draft.rewrite.phrases)
    return tuple(Candidate(HUMAN, phrase, "target", box, 1.0, chosen=True) for box in draft.sample.human_boxes)


def _roles(phrase: str, rewrite: Rewrite) -> Iterator[Role]:
    """A phrase may be a target and the anchor at once: "the star left of the star"."""
    if phrase in rewrite.phrases:
        yield "target"
    if phrase == rewrite.anchor:
        yield "anchor"


def spoken_phrases(rewrite: Rewrite) -> list[str]:
    """Target phrases and the anchor, each once, in order."""
    return list(dict.fromkeys([*rewrite.phrases, *([rewrite.anchor] if rewrite.anchor else [])]))
