"""Composes instructions of the first six kinds; `ivm_data.worlds.referring` adds the others.

What is drawn at random, and in which order, makes the data sets that exist: a change of it changes them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from ivm_data.worlds import spoken, templates
from ivm_data.worlds.pair import WorldPair, difficulty
from ivm_data.worlds.phrases import NOUNS, Description, describe, members, plural
from ivm_data.worlds.relations import RELATIONS, stands, stands_not
from ivm_data.worlds.scene import ATTRIBUTES, HELD_OUT, Scene
from storage.request import Request

T = TypeVar("T")
AMBIGUOUS_SHARE = 0.85
"""Share of relation pairs whose target phrase alone fits two things or more."""
ABSENT_TRIES = 4


class Composer:
    """One method a kind. `_fitting` maps each description to the things that it fits, a bit mask."""

    def __init__(self, scene: Scene, rng: np.random.Generator, free: bool = False) -> None:
        self._scene = scene
        self._rng = rng
        self._free = free
        self._fitting = describe(scene.things)
        self._unique: dict[int, list[Description]] = {}
        for description, bits in self._fitting.items():
            if bits.bit_count() == 1:
                self._unique.setdefault(bits.bit_length() - 1, []).append(description)

    def attribute(self) -> WorldPair | None:
        """One thing by what it looks like."""
        if not self._unique:
            return None
        target, description = self._unique_thing()
        phrase = self._said(description)
        return self._pair("attribute", self._asked_for(phrase), Request.of((phrase,)), (target,))

    def relation(self) -> WorldPair | None:
        """One thing by how it lies to another."""
        ambiguous = self._rng.random() < AMBIGUOUS_SHARE
        for anchor in self._shuffled(self._unique):
            for relation in self._shuffled(RELATIONS):
                options = self._related(anchor, relation, ambiguous)
                if options:
                    description, target = self._favoured(options)
                    return self._relation_pair(self._said(description), target, relation, anchor)
        return None

    def two_targets(self) -> WorldPair | None:
        """Two things, each by what it looks like."""
        if len(self._unique) < 2:
            return None
        first, description = self._unique_thing()
        second, other_description = self._unique_thing(but=first)
        phrase, other = self._said(description), self._said(other_description)
        sentences = spoken.TWO_TARGETS if self._free else templates.TWO_TARGETS
        instruction = self._one(sentences).format(a=phrase, b=other)
        return self._pair("two_targets", instruction, Request.of((phrase, other)), (first, second))

    def counting(self) -> WorldPair | None:
        """Everything that a phrase fits, and how many that is."""
        by_count: dict[int, list[Description]] = {}
        for description, bits in self._fitting.items():
            by_count.setdefault(bits.bit_count(), []).append(description)
        counts = [count for count in sorted(by_count) if count <= templates.MAX_COUNT]
        count = self._one(counts)
        description = self._favoured([(description, 0) for description in by_count[count]])[0]
        phrase = self._said(description)
        sentences = spoken.COUNTING if self._free else templates.COUNTING
        instruction = self._one(sentences).format(a=plural(phrase))
        targets = members(self._fitting[description])
        return self._pair("counting", instruction, Request.of((phrase,), quantity="all"), targets, answer=str(count))

    def question(self) -> WorldPair | None:
        """An attribute of one thing that the others tell apart."""
        asked = self._one(tuple(ATTRIBUTES))
        options = [
            (description, thing)
            for thing, many in self._unique.items()
            for description in many
            if not getattr(description, asked)
        ]
        if not options:
            return None
        description, target = self._favoured(options)
        phrase = self._said(description)
        answer = getattr(self._scene.things[target], asked)
        sentences = spoken.QUESTION if self._free else templates.QUESTION
        instruction = self._one(sentences[asked]).format(a=phrase)
        return self._pair("question", instruction, Request.of((phrase,)), (target,), answer=answer)

    def absent(self) -> WorldPair | None:
        """Ask for a thing as "attribute" does, with one word changed so that nothing fits."""
        for _ in range(ABSENT_TRIES if self._unique else 0):
            changed = self._changed()
            if changed is not None:
                phrase = self._said(changed)
                return self._pair("absent", self._asked_for(phrase), Request.of((phrase,)), ())
        return None

    def _changed(self) -> Description | None:
        """A description of a thing with one word changed so that nothing fits; None where that word allows it not."""
        _, description = self._unique_thing()
        changed = self._one(description.given)
        options = [description._replace(**{changed: word}) for word in ATTRIBUTES[changed]]
        options = [option for option in options if option not in self._fitting and self._may_be_named(option)]
        return self._one(options) if options else None

    def _asked_for(self, phrase: str) -> str:
        """An instruction about one thing."""
        if self._free:
            return self._one(spoken.ASK_ONE).format(x=f"the {phrase}")
        return self._one(templates.FIND).format(a=phrase)

    def _related(self, anchor: int, relation: str, ambiguous: bool) -> list[tuple[Description, int]]:
        """Descriptions of which exactly one thing stands in the relation, all others clearly not; with that thing."""
        boxes = [thing.box for thing in self._scene.things]
        there = sum(1 << i for i, box in enumerate(boxes) if stands(box, relation, boxes[anchor]))
        elsewhere = sum(1 << i for i, box in enumerate(boxes) if stands_not(box, relation, boxes[anchor]))
        options = []
        for description, bits in self._fitting.items():
            others = bits & ~(1 << anchor)
            hits = others & there
            clear = hits.bit_count() == 1 and others & ~hits & ~elsewhere == 0
            if clear and (others.bit_count() > 1) == ambiguous:
                options.append((description, hits.bit_length() - 1))
        return options

    def _relation_pair(self, phrase: str, target: int, relation: str, anchor: int) -> WorldPair:
        other = self._said(self._favoured([(description, anchor) for description in self._unique[anchor]])[0])
        words = self._one(templates.RELATION_WORDS[relation])
        if self._free:
            named = self._one(spoken.RELATION).format(a=phrase, b=other, r=words)
            instruction = self._one(spoken.ASK_ONE).format(x=named)
        else:
            instruction = self._one(templates.RELATION).format(a=phrase, b=other, r=words)
        return self._pair("relation", instruction, Request.of((phrase,), other, relation), (target,))

    def _unique_thing(self, but: int = -1) -> tuple[int, Description]:
        target = self._one([thing for thing in self._unique if thing != but])
        return target, self._favoured([(description, target) for description in self._unique[target]])[0]

    def _favoured(self, options: list[tuple[Description, int]]) -> tuple[Description, int]:
        """Draw an option; short descriptions and those that name a shape are likelier."""
        weights = np.array(
            [0.4 ** len(description.given) * (1.0 if description.shape else 0.3) for description, _ in options]
        )
        edges = weights.cumsum()
        return options[int(np.searchsorted(edges, self._rng.random() * edges[-1], side="right"))]

    def _said(self, description: Description) -> str:
        return description.text(self._one(NOUNS))

    def _may_be_named(self, description: Description) -> bool:
        return self._scene.split == "test" or (description.colour, description.shape) not in HELD_OUT

    def _one(self, options: Sequence[T]) -> T:
        return options[int(self._rng.integers(len(options)))]

    def _shuffled(self, options: Iterable[T]) -> list[T]:
        ordered = list(options)
        return [ordered[i] for i in self._rng.permutation(len(ordered))]

    def _pair(
        self, kind: str, instruction: str, request: Request, targets: tuple[int, ...], *, answer: str = ""
    ) -> WorldPair:
        things = self._scene.things
        return WorldPair(
            kind=kind,
            instruction=instruction[0].upper() + instruction[1:],
            request=request,
            targets=targets,
            answer=answer,
            difficulty=difficulty(self._scene, kind, request.phrases, targets),
            novel=any((things[i].colour, things[i].shape) in HELD_OUT for i in targets),
        )
