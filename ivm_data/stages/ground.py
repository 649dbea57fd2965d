"""Request -> boxes, from one grounder or several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ivm_data.experts.common.known_words import words_known_to
from ivm_data.experts.common.protocols import Detection, Grounder
from ivm_data.stages.stage import Draft, Outcome
from storage.common.validation import Checked, Share
from storage.pixels.overlap import box_iou
from storage.records import HUMAN, Candidate, Role, Witness
from storage.request import Request, Thing


@dataclass(frozen=True)
class GroundConfig(Checked):
    """What the grounders are asked, and which of their boxes are one.

    Attributes:
        ask_nouns: search for a thing's noun beside its expression: a detector that stumbles over "man not wearing hat"
            finds "man", and the verifier chooses among them.
        same_object_iou: boxes of one phrase that overlap more than this, of several grounders or of the noun, are one.
    """

    ask_nouns: bool = False
    same_object_iou: Share = 0.6


class GroundStage:
    """Rewritten draft -> draft with target and anchor `candidates`, best first for each phrase.

    A draft without any box is kept: whether its target is absent is for the resolve stage to say. Where a person drew
    boxes nothing is searched: they are the candidates, and chosen already. Nor is anything where the whole image is
    meant. `understood` falls to the share of words that the best grounder knows: of others none can find anything.
    """

    name = "ground"

    def __init__(self, grounders: Sequence[Grounder], config: GroundConfig | None = None) -> None:
        self.grounders = tuple(grounders)
        self.config = config or GroundConfig()

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Ground every phrase of every draft, those that only describe too."""
        drawn = {i: _drawn(draft) for i, draft in enumerate(batch) if draft.sample.human_boxes}
        searched = [i for i, draft in enumerate(batch) if i not in drawn and not draft.is_answered]
        found = dict(zip(searched, self._search([batch[i] for i in searched]), strict=True)) if searched else {}
        return Outcome([(drawn | found).get(i, draft) for i, draft in enumerate(batch)], [])

    def _search(self, drafts: Sequence[Draft]) -> list[Draft]:
        images = [draft.image_HWC for draft in drafts]
        asked = [self._asked(draft.request) for draft in drafts]
        found = [(one.name, one.ground(images, [list(phrases) for phrases in asked])) for one in self.grounders]
        return [
            replace(
                draft, candidates=self._candidates(draft.request, [(name, hits[i]) for name, hits in found])
            ).scored(understood=min(draft.scores.understood, self._known(draft.request)))
            for i, draft in enumerate(drafts)
        ]

    def _asked(self, request: Request) -> dict[str, list[Thing]]:
        """What is searched for, each once in order, with the things that it may show."""
        asked: dict[str, list[Thing]] = defaultdict(list)
        for phrase in spoken_phrases(request):
            asked[phrase] += [thing for thing in request.things if thing.phrase == phrase]
        if self.config.ask_nouns:
            for thing in request.things:
                if thing.noun and thing.noun != thing.phrase:
                    asked[thing.noun].append(thing)
        return asked

    def _candidates(self, request: Request, found: Sequence[tuple[str, Sequence[Detection]]]) -> tuple[Candidate, ...]:
        asked = self._asked(request)
        several = len(self.grounders) > 1 or len(asked) > len(spoken_phrases(request))
        candidates = [
            Candidate(name, phrase, role, hit.box, hit.score, witnesses=_witnesses(name, hit) if several else ())
            for name, hits in found
            for hit in hits
            for phrase in dict.fromkeys(thing.phrase for thing in asked[hit.phrase])
            for role in _roles(phrase, request)
        ]
        return tuple(self._united(candidates) if several else candidates)

    def _united(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Best first; a box that a better one of its phrase shows already becomes a witness of that one."""
        united: list[Candidate] = []
        for one in sorted(candidates, key=lambda candidate: -candidate.score):
            same = (i for i, other in enumerate(united) if (other.role, other.phrase) == (one.role, one.phrase))
            place = next((i for i in same if box_iou(united[i].box, one.box) > self.config.same_object_iou), None)
            if place is None:
                united.append(one)
            else:
                united[place] = replace(united[place], witnesses=(*united[place].witnesses, *one.witnesses))
        return united

    def _known(self, request: Request) -> float:
        """The least share of known words among the phrases, by the grounder that knows most of each."""
        return min(max(words_known_to(one, phrase) for one in self.grounders) for phrase in spoken_phrases(request))


def _witnesses(expert: str, hit: Detection) -> tuple[Witness, ...]:
    return (Witness(expert, hit.phrase, hit.score),)


def _drawn(draft: Draft) -> Draft:
    """The person's boxes; which of several phrases each of them shows is not known."""
    phrase = " and ".join(draft.request.phrases) or draft.sample.instruction
    boxes = tuple(Candidate(HUMAN, phrase, "target", box, 1.0, chosen=True) for box in draft.sample.human_boxes)
    return replace(draft, candidates=boxes)


def _roles(phrase: str, request: Request) -> Iterator[Role]:
    """A phrase may be a target and describe one at once: "the star left of the star"."""
    if phrase in request.phrases:
        yield "target"
    if phrase in request.described_by:
        yield "anchor"


def spoken_phrases(request: Request) -> list[str]:
    """Target phrases, then those that describe them, each once."""
    return list(dict.fromkeys([*request.phrases, *request.described_by]))
