"""Which boxes answer a request: geometry and scores, shared by every expert that offers boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from storage.common.validation import Checked, Share
from storage.pixels.overlap import box_iou
from storage.records import Box, Candidate
from storage.request import ALL, BETWEEN, DIRECTIONS, EXCEPT, FARTHEST, NEAREST, OR, RELATIONS, Order, Request

_UNIT = dict(zip(DIRECTIONS, ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)), strict=True))
"""Unit vector from the anchor to the target for each direction, in image axes (y grows downward)."""
_ORDERS: dict[Order, Callable[[Box], float]] = {
    "left": lambda box: box.center[0],
    "right": lambda box: -box.center[0],
    "top": lambda box: box.center[1],
    "bottom": lambda box: -box.center[1],
    "largest": lambda box: -box.area,
    "smallest": lambda box: box.area,
}
"""What is smallest for the first in each order."""

_DOUBT = 1e-4
"""No witness is surer than this."""


@dataclass(frozen=True)
class ChooseConfig(Checked):
    """How candidates become the answer.

    Attributes:
        min_support: a candidate of an instruction that asks for "all" counts from this support on.
        same_object_iou: two boxes that overlap more than this show the same object.
        min_relation: a candidate of an instruction that asks for "all" counts from this fit to its relations on.
    """

    min_support: Share = 0.25
    same_object_iou: Share = 0.6
    min_relation: Share = 0.5


@dataclass(frozen=True)
class Choice:
    """The candidates with `relation` and `chosen` set, and the least margin to a runner-up (1 where there is none)."""

    candidates: tuple[Candidate, ...]
    margin: float

    @property
    def chosen(self) -> list[Candidate]:
        """Chosen targets, without what describes them."""
        return [candidate for candidate in self.candidates if candidate.chosen and candidate.role == "target"]


def choose(candidates: Sequence[Candidate], request: Request, config: ChooseConfig) -> Choice:
    """Score every candidate by the relations and the order of its thing, then pick what each target means.

    What describes a thing is the candidate that the chosen one fits best, each worth its share of the best one's
    support.
    """
    return _Chooser(candidates, request, config).choice()


def support(candidate: Candidate) -> float:
    """Geometric mean of the scores that are known: grounder, verifier, its word in context, relation; in [0, 1]."""
    scores = (candidate.score, candidate.p_yes, candidate.in_context, candidate.relation)
    known = [score for score in scores if not math.isnan(score)]
    return math.prod(known) ** (1 / len(known))


def likelihood(candidate: Candidate) -> float:
    """P(the box shows its phrase), of grounder and verifier as independent witnesses: naive Bayes, even odds before."""
    odds = 1.0
    for witness in (candidate.score, candidate.p_yes):
        if not math.isnan(witness):
            known = min(max(witness, _DOUBT), 1 - _DOUBT)
            odds *= known / (1 - known)
    return odds / (1 + odds)


def relation_fit(target: Box, relation: str, anchor: Box, same_object_iou: float = 0.6) -> float:
    """Cosine between the displacement of the box centres and the relation's direction, cut at 0.

    An object has no relation to itself: boxes that overlap beyond `same_object_iou` fit with 0.
    """
    if box_iou(target, anchor) > same_object_iou:
        return 0.0
    return max(0.0, _cosine(_displacement(anchor, target), _UNIT[relation]))


def between_fit(target: Box, first: Box, second: Box, same_object_iou: float = 0.6) -> float:
    """How nearly the two anchors lie in opposite directions from the target: -cosine of the angle, cut at 0."""
    if max(box_iou(target, first), box_iou(target, second)) > same_object_iou:
        return 0.0
    return max(0.0, -_cosine(_displacement(target, first), _displacement(target, second)))


class _Chooser:
    """Candidates and things go by their indices. How a candidate fits depends on the thing that it might show."""

    def __init__(self, candidates: Sequence[Candidate], request: Request, config: ChooseConfig) -> None:
        self._candidates = list(candidates)
        self._request = request
        self._config = config
        self._fits: dict[tuple[int, int], float] = {}
        self._anchors: dict[tuple[int, int], dict[int, int]] = {}
        self._picked: dict[int, list[int]] = {}
        self._margins = [1.0]

    def choice(self) -> Choice:
        request = self._request
        for index in reversed([i for i, one in enumerate(request.things) if one.of >= 0 and one.relation != OR]):
            self._score(index)
        taken: list[int] = []
        for target in request.targets:
            taken += self._pick_target(target, taken)
        marked = [self._fitted(self._best_fit(i), i) for i in range(len(self._candidates))]
        for thing, picks in self._picked.items():
            for i in picks:
                marked[i] = replace(self._fitted(self._fits.get((thing, i)), i), chosen=True)
        return Choice(tuple(marked), min(self._margins))

    def _pick_target(self, target: int, taken: Sequence[int]) -> list[int]:
        """What one target means, or that of its alternatives which has most support, with what describes it."""
        thing, ranked = self._request.things[target], {}
        for option in self._request.options(target):
            self._score(option)
            ranked[option] = self._ranked(option, taken)
        option = max(ranked, key=lambda one: self._support(one, ranked[one][0]) if ranked[one] else -1.0)
        best = ranked[option]
        if thing.count == ALL:
            picks = [i for i in best if self._counts(option, i)]
        else:
            picks = best[: thing.count]
            if picks:
                rest = best[thing.count :]
                runner_up = self._support(option, rest[0]) if rest else 0.0
                self._margins.append(self._support(option, picks[-1]) - runner_up)
        self._picked[option] = picks
        for i in picks or best[:1]:
            self._pick_describing(option, i)
        return picks

    def _pick_describing(self, thing: int, index: int) -> None:
        """What describes a thing, as its candidate fits it best; where nothing fits, the candidate of most support."""
        for one, other in self._request.describing(thing):
            if other.relation == OR:
                continue
            ranked = self._ranked(one)
            anchor = self._anchors.get((thing, index), {}).get(one, ranked[0] if ranked else None)
            if anchor is not None and anchor not in self._picked.setdefault(one, []):
                self._picked[one].append(anchor)
                self._pick_describing(one, anchor)

    def _counts(self, thing: int, index: int) -> bool:
        fit = self._fits.get((thing, index), 1.0)
        return self._support(thing, index) >= self._config.min_support and fit >= self._config.min_relation

    def _ranked(self, thing: int, taken: Sequence[int] = ()) -> list[int]:
        """The thing's candidates that show no object that is taken, best first."""
        boxes = [self._candidates[i].box for i in taken]
        free = [i for i in self._of(thing) if not self._shows_any(i, boxes)]
        return sorted(free, key=lambda i: self._support(thing, i), reverse=True)

    def _score(self, thing: int) -> None:
        """Write down how the thing's candidates fit its relations, then its order."""
        described = list(self._request.describing(thing))
        for relation in dict.fromkeys(one.relation for _, one in described):
            others = [i for i, one in described if one.relation == relation]
            if relation == EXCEPT:
                for i in self._of(thing):
                    self._fit(thing, i, 1.0 - self._most(others, i))
            elif relation in RELATIONS:
                self._relate(thing, relation, others)
        order = self._request.things[thing].order
        if order:
            key, rank = _ORDERS[order], self._request.things[thing].rank
            for i, fit in self._in_order(thing, key, rank).items():
                self._fit(thing, i, fit)

    def _relate(self, thing: int, relation: str, others: Sequence[int]) -> None:
        """Fit each candidate with the anchors that it fits best, each worth as much as its share of the best one's."""
        options = {other: self._anchors_of(other) for other in others}
        if not all(options.values()) or (relation == BETWEEN and len(others) < 2):
            return
        for group in [others[:2]] if relation == BETWEEN else [[other] for other in others]:
            best: dict[int, tuple[float, tuple[int, ...]]] = {}
            for anchors in product(*(options[other] for other in group)):
                worth = math.prod(share for _, share in anchors)
                chosen = tuple(i for i, _ in anchors)
                for i, fit in self._fit_to(thing, relation, [self._candidates[c].box for c in chosen]).items():
                    if worth * fit > best.get(i, (-1.0, ()))[0]:
                        best[i] = worth * fit, chosen
            for i, (fit, chosen) in best.items():
                self._fit(thing, i, fit)
                self._anchors.setdefault((thing, i), {}).update(zip(group, chosen, strict=True))

    def _anchors_of(self, thing: int) -> list[tuple[int, float]]:
        """Candidates of what describes, each with its support as a share of the best one's."""
        ranked = self._ranked(thing)
        most = self._support(thing, ranked[0]) if ranked else 0.0
        return [(i, self._support(thing, i) / most if most else 0.0) for i in ranked]

    def _fit_to(self, thing: int, relation: str, anchors: Sequence[Box]) -> dict[int, float]:
        """How each candidate of a thing fits a relation to these anchors, in [0, 1]."""
        iou = self._config.same_object_iou
        if relation in (NEAREST, FARTHEST):
            sign = 1.0 if relation == NEAREST else -1.0
            return self._in_order(thing, lambda box: sign * math.hypot(*_displacement(anchors[0], box)), 1, anchors)
        boxes = {i: self._candidates[i].box for i in self._of(thing)}
        if relation == BETWEEN:
            return {i: between_fit(box, anchors[0], anchors[1], iou) for i, box in boxes.items()}
        return {i: relation_fit(box, relation, anchors[0], iou) for i, box in boxes.items()}

    def _in_order(
        self, thing: int, key: Callable[[Box], float], rank: int, but: Sequence[Box] = ()
    ) -> dict[int, float]:
        """P(exactly rank - 1 things lie ahead of a candidate), by how surely each candidate ahead is one: 0 for one of
        the anchors, and for a worse box of an object that has a better one.

        The number of things ahead has a Poisson binomial distribution (Wang 1993, "On the number of successes in
        independent trials", Statistica Sinica 3, eq. 1), built up here one candidate at a time.
        """
        distinct: list[int] = []
        for i in self._ranked(thing):
            if not self._shows_any(i, [*but, *(self._candidates[c].box for c in distinct)]):
                distinct.append(i)
        distinct.sort(key=lambda i: key(self._candidates[i].box))
        fits, ahead = {}, [1.0]
        for i in distinct:
            fits[i] = ahead[rank - 1] if rank <= len(ahead) else 0.0
            real = likelihood(self._candidates[i]) * self._fits.get((thing, i), 1.0)
            ahead = [real * fewer + (1 - real) * same for fewer, same in zip([0.0, *ahead], [*ahead, 0.0], strict=True)]
        return {i: fits.get(i, 0.0) for i in self._of(thing)}

    def _most(self, excepted: Sequence[int], index: int) -> float:
        """The most support that a candidate of an excepted thing has that shows the same object."""
        box = self._candidates[index].box
        same = [(e, i) for e in excepted for i in self._of(e) if self._shows_any(i, [box])]
        return max((self._support(*one) for one in same), default=0.0)

    def _of(self, thing: int) -> list[int]:
        named = self._request.things[thing]
        role = "target" if named.of < 0 or named.relation == OR else "anchor"
        return [i for i, c in enumerate(self._candidates) if c.role == role and c.phrase == named.phrase]

    def _fit(self, thing: int, index: int, fit: float) -> None:
        """A candidate fits as well as it fits worst."""
        self._fits[thing, index] = min(fit, self._fits.get((thing, index), 1.0))

    def _best_fit(self, index: int) -> float | None:
        return max((fit for (_, i), fit in self._fits.items() if i == index), default=None)

    def _fitted(self, fit: float | None, index: int) -> Candidate:
        candidate = self._candidates[index]
        return replace(candidate, chosen=False) if fit is None else replace(candidate, relation=fit, chosen=False)

    def _support(self, thing: int, index: int) -> float:
        return support(self._fitted(self._fits.get((thing, index)), index))

    def _shows_any(self, index: int, boxes: Sequence[Box]) -> bool:
        box = self._candidates[index].box
        return any(box_iou(box, other) > self._config.same_object_iou for other in boxes)


def _displacement(start: Box, end: Box) -> tuple[float, float]:
    return end.center[0] - start.center[0], end.center[1] - start.center[1]


def _cosine(first: tuple[float, float], second: tuple[float, float]) -> float:
    length = math.hypot(*first) * math.hypot(*second)
    return (first[0] * second[0] + first[1] * second[1]) / length if length else 0.0
