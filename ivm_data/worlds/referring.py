"""Composes what people say beyond the first six kinds: ranks, exclusions, numbers, steps, alternatives, the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ivm_data.worlds import ranks, spoken, templates
from ivm_data.worlds.composer import Composer
from ivm_data.worlds.pair import WorldPair
from ivm_data.worlds.phrases import Description, members, plural
from ivm_data.worlds.relations import RELATIONS
from ivm_data.worlds.scene import ATTRIBUTES, SHAPES
from storage.request import ALL, BETWEEN, EXCEPT, FARTHEST, NEAREST, OR, Order, Request, Thing

SIDES: tuple[Order, ...] = ("left", "right", "top", "bottom")
ORDERS: tuple[Order, ...] = (*SIDES, "largest", "smallest")
RANKS = (1, 2, 2, 3)
"""Places in a row, as often as they are asked for."""
LEAST_IN_ROW = 3
"""Things in a row in which one is counted out, unless it is the first."""
RELATED_SHARE = 0.7
"""Share of two steps whose second thing is described by how it lies to another."""
EITHER_TRIES = 4


class Referring(Composer):
    """One method a kind, on top of the first six."""

    def ordinal(self) -> WorldPair | None:
        """ "the second star from the left"."""
        for rank in self._shuffled(sorted(set(RANKS), key=RANKS.index)):
            least = LEAST_IN_ROW if rank > 1 else 2
            for side in self._shuffled(SIDES):
                options = self._ranked(side, rank, least)
                if options:
                    description, target = self._favoured(options)
                    phrase = self._said(description)
                    words = {"a": phrase, "o": spoken.ORDINALS[rank], "s": spoken.SIDES[side]}
                    named = self._one(spoken.ORDINAL).format(**words)
                    return self._about("ordinal", named, (_in_order(phrase, side, rank),), (target,))
        return None

    def superlative(self) -> WorldPair | None:
        """ "the largest star", "the topmost red thing"."""
        for order in self._shuffled(ORDERS):
            options = self._ranked(order, 1, 2)
            if options:
                description, target = self._favoured(options)
                phrase = self._said(description)
                named = self._one(spoken.SUPERLATIVE[order]).format(a=phrase)
                return self._about("superlative", named, (_in_order(phrase, order),), (target,))
        return None

    def between(self) -> WorldPair | None:
        """ "the star between the red ring and the blue square"."""
        boxes = [thing.box for thing in self._scene.things]
        pairs = [(i, j) for i in self._unique for j in self._unique if i != j and ranks.apart(boxes[i], boxes[j])]
        found: list[tuple[tuple[int, int], list[tuple[Description, int]]]] = []
        for one, two in self._shuffled(pairs):
            inside = self._bits(ranks.between(box, boxes[one], boxes[two]) for box in boxes)
            outside = self._bits(ranks.not_between(box, boxes[one], boxes[two]) for box in boxes)
            options = self._single(inside, outside, but=1 << one | 1 << two)
            several = [option for option in options if self._fitting[option[0]].bit_count() > 1]
            if options:
                found.append(((one, two), several or options))
                if several:
                    break
        if not found:
            return None
        (one, two), options = found[-1]
        description, target = self._favoured(options)
        phrase, first, second = self._said(description), self._named(one), self._named(two)
        named = self._one(spoken.BETWEEN).format(a=phrase, b=first, c=second)
        anchors = (Thing(first, of=0, relation=BETWEEN), Thing(second, of=0, relation=BETWEEN))
        return self._about("between", named, (Thing(phrase), *anchors), (target,))

    def nearest(self) -> WorldPair | None:
        """ "the star nearest to the blue square", or farthest from it."""
        things = self._scene.things
        for anchor in self._shuffled(self._unique):
            for relation in self._shuffled((NEAREST, FARTHEST)):
                options = []
                for description, bits in self._fitting.items():
                    others = members(bits & ~(1 << anchor))
                    boxes = [(i, things[i].box) for i in others]
                    target = ranks.extreme(boxes, relation, things[anchor].box) if len(others) > 1 else None
                    if target is not None:
                        options.append((description, target))
                if options:
                    description, target = self._favoured(options)
                    phrase, other = self._said(description), self._named(anchor)
                    named = self._one(spoken.NEAREST[relation]).format(a=phrase, b=other)
                    request = (Thing(phrase), Thing(other, of=0, relation=relation))
                    return self._about("nearest", named, request, (target,))
        return None

    def negation(self) -> WorldPair | None:
        """ "the star that is not red": exactly one is left."""
        options = [option for option in self._exclusions() if option[2].bit_count() == 1]
        return self._excluding("negation", options, spoken.NEGATION, spoken.NEGATION, count=1) if options else None

    def all_but(self) -> WorldPair | None:
        """ "all the stars except the red one": two or more are left."""
        options = [option for option in self._exclusions() if 2 <= option[2].bit_count() <= templates.MAX_COUNT]
        ways = spoken.ALL_BUT_ONE, spoken.ALL_BUT_MANY
        return self._excluding("all_but", options, *ways, count=ALL) if options else None

    def number(self) -> WorldPair | None:
        """ "the three stars", where that many exist."""
        by_count: dict[int, list[Description]] = {}
        for description, bits in self._fitting.items():
            if bits.bit_count() in spoken.NUMBERS:
                by_count.setdefault(bits.bit_count(), []).append(description)
        if not by_count:
            return None
        count = self._one(sorted(by_count))
        description, _ = self._favoured([(description, 0) for description in by_count[count]])
        phrase = self._said(description)
        named = self._one(spoken.NUMBER).format(k=spoken.NUMBERS[count], n=plural(phrase))
        targets = members(self._fitting[description])
        return self._about("number", named, (Thing(phrase, count=count),), targets, many=True)

    def two_steps(self) -> WorldPair | None:
        """ "pick up the star, then put it on the ring left of the square"."""
        if len(self._unique) < 2:
            return None
        second = self._second_step() if self._rng.random() < RELATED_SHARE else None
        if second is None:
            target, other = self._unique_thing()
            phrase = self._said(other)
            second = target, phrase, (Thing(phrase, step=2),)
        target, named, things = second
        first, description = self._unique_thing(but=target)
        start = self._said(description)
        instruction = self._one(spoken.TWO_STEPS).format(x=f"the {start}", y=f"the {named}")
        return self._pair("two_steps", instruction, Request((Thing(start), *things)), (first, target))

    def _second_step(self) -> tuple[int, str, tuple[Thing, ...]] | None:
        """A thing that a relation singles out, how it is said, and what it is."""
        for anchor in self._shuffled(self._unique):
            for relation in self._shuffled(RELATIONS):
                options = self._related(anchor, relation, ambiguous=True)
                if options:
                    description, target = self._favoured(options)
                    phrase, other = self._said(description), self._named(anchor)
                    named = f"{phrase} {self._one(templates.RELATION_WORDS[relation])} the {other}"
                    return target, named, (Thing(phrase, step=2), Thing(other, of=1, relation=relation))
        return None

    def either(self) -> WorldPair | None:
        """ "the red star or the blue ring", of which one exists."""
        tries = EITHER_TRIES if self._unique else 0
        absent = next((found for _ in range(tries) if (found := self._changed())), None)
        if absent is None:
            return None
        target, description = self._unique_thing()
        phrases = [self._said(description), self._said(absent)]
        first, second = phrases if self._rng.random() < 0.5 else phrases[::-1]
        named = self._one(spoken.EITHER).format(a=first, b=second)
        return self._about("either", named, (Thing(first), Thing(second, of=0, relation=OR)), (target,))

    def whole_image(self) -> WorldPair:
        """ "Describe the picture.": everything is meant."""
        return self._pair("whole_image", self._one(spoken.WHOLE_IMAGE), Request(scope="whole image"), ())

    def _about(
        self, kind: str, named: str, things: tuple[Thing, ...], targets: tuple[int, ...], *, many: bool = False
    ) -> WorldPair:
        sentence = self._one(spoken.ASK_MANY if many else spoken.ASK_ONE)
        return self._pair(kind, sentence.format(x=named), Request(things), targets)

    def _ranked(self, order: str, rank: int, least: int) -> list[tuple[Description, int]]:
        """Descriptions of several things, with the one in that place."""
        things, options = self._scene.things, []
        for description, bits in self._fitting.items():
            many = members(bits)
            if len(many) < max(least, rank):
                continue
            if order in SIDES:
                target = ranks.in_place([(i, things[i].box) for i in many], order, rank)
            else:
                target = ranks.outsized([(i, things[i]) for i in many], order)
            if target is not None:
                options.append((description, target))
        return options

    def _exclusions(self) -> list[tuple[Description, Description, int]]:
        """Descriptions, each with a narrower one by a word, and the things that fit only the wider one."""
        options = []
        for wider, bits in self._fitting.items():
            for name in ATTRIBUTES:
                if getattr(wider, name) or bits.bit_count() < 2:
                    continue
                words = dict.fromkeys(getattr(self._scene.things[i], name) for i in members(bits))
                for narrower in (wider._replace(**{name: word}) for word in words):
                    left = bits & ~self._fitting[narrower]
                    if left:
                        options.append((wider, narrower, left))
        return options

    def _excluding(
        self,
        kind: str,
        options: Sequence[tuple[Description, Description, int]],
        one: spoken.Exclusion,
        many: spoken.Exclusion,
        count: int,
    ) -> WorldPair:
        """A pair that names a description and leaves a narrower one out; said as of one thing or as of several."""
        chosen = self._favoured([(wider, index) for index, (wider, _, _) in enumerate(options)])[1]
        wider, narrower, left = options[chosen]
        phrase = self._said(wider)
        (word,) = set(narrower) - set(wider)
        style = one if self._fitting[narrower].bit_count() == 1 else many
        ways = style["shape" if word in SHAPES else "word"]
        named = self._one(ways).format(a=phrase, n=plural(phrase), w=word, m=plural(word) if word in SHAPES else "")
        things = (Thing(phrase, count=count), Thing(narrower.text(phrase.split()[-1]), of=0, relation=EXCEPT))
        return self._about(kind, named, things, members(left), many=count == ALL)

    def _single(self, inside: int, outside: int, but: int) -> list[tuple[Description, int]]:
        """Descriptions of which exactly one thing is inside and all others are outside, leaving some out."""
        options = []
        for description, bits in self._fitting.items():
            others = bits & ~but
            hits = others & inside
            if hits.bit_count() == 1 and others & ~hits & ~outside == 0:
                options.append((description, hits.bit_length() - 1))
        return options

    @staticmethod
    def _bits(flags: Iterable[bool]) -> int:
        return sum(1 << index for index, flag in enumerate(flags) if flag)

    def _named(self, thing: int) -> str:
        return self._said(self._favoured([(description, thing) for description in self._unique[thing]])[0])


def _in_order(phrase: str, order: Order, rank: int = 1) -> Thing:
    place = f"{spoken.ORDINALS[rank]} " if rank > 1 else ""
    return Thing(f"{place}{spoken.PLACES[order]} {phrase}", phrase, order=order, rank=rank)
