"""The compositional instruction grammar: a scene and a kind give an instruction with its true target set.

Every phrase stands word for word in its instruction (in the plural for counting). In the train and val splits no
phrase names a held-out combination. Difficulty counts hurdles:

- kind: one for relation, two_targets and counting, which need more than one thing to be right;
- likeness: one where CROWD or more other things share at least two words with a target (with the phrase, if absent);
- sight: one where a target is less than CLEAR visible or shows fewer than TINY pixels.

No hurdle is easy, one is medium, more are hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from ivm_data.worlds import templates
from ivm_data.worlds.phrases import NOUNS, Description, describe, matches, members, parse, plural
from ivm_data.worlds.relations import RELATIONS, stands, stands_not
from ivm_data.worlds.scene import ATTRIBUTES, HELD_OUT, Scene, Thing
from ivm_data.worlds.templates import vocabulary
from storage.errors import ConfigError

__all__ = ["KINDS", "RELATIONS", "WorldPair", "compose", "matches", "stands", "vocabulary"]

KINDS = ("attribute", "relation", "two_targets", "counting", "question", "absent")
T = TypeVar("T")
Difficulty = Literal["easy", "medium", "hard"]
AMBIGUOUS_SHARE = 0.85
"""Share of relation pairs whose target phrase alone fits two things or more."""
ABSENT_TRIES = 4
CROWD = 3
CLEAR = 0.75
TINY = 90


@dataclass(frozen=True)
class WorldPair:
    """An instruction about a scene and everything that is true of it.

    Attributes:
        phrases: target noun phrases, singular; two for "two_targets", else one.
        anchor, relation: noun phrase and member of RELATIONS for "relation", else "".
        quantity: "all" for "counting", else "one".
        targets: indices into `scene.things`, in the order of the phrases; empty for "absent".
        answer: attribute word of "question", number of "counting", else "".
        novel: a target has a combination of HELD_OUT.
    """

    kind: str
    instruction: str
    phrases: tuple[str, ...]
    anchor: str
    relation: str
    quantity: Literal["one", "all"]
    targets: tuple[int, ...]
    answer: str
    difficulty: Difficulty
    novel: bool


def compose(scene: Scene, kind: str, rng: np.random.Generator) -> WorldPair | None:
    """Draw an instruction of a kind about a scene; None where the scene offers none.

    Raises:
        ConfigError: for an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {KINDS}, got {kind!r}")
    pair: WorldPair | None = getattr(_Composer(scene, rng), kind)()
    return pair


class _Composer:
    """One method a kind. `_fitting` maps each description to the things that it fits, a bit mask."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self._scene = scene
        self._rng = rng
        self._fitting = describe(scene.things)
        self._unique: dict[int, list[Description]] = {}
        for description, bits in self._fitting.items():
            if bits.bit_count() == 1:
                self._unique.setdefault(bits.bit_length() - 1, []).append(description)

    def attribute(self) -> WorldPair | None:
        if not self._unique:
            return None
        target, description = self._unique_thing()
        phrase = self._said(description)
        return self._pair("attribute", self._one(templates.FIND).format(a=phrase), (phrase,), (target,))

    def relation(self) -> WorldPair | None:
        ambiguous = self._rng.random() < AMBIGUOUS_SHARE
        for anchor in self._shuffled(self._unique):
            for relation in self._shuffled(RELATIONS):
                options = self._related(anchor, relation, ambiguous)
                if options:
                    description, target = self._favoured(options)
                    return self._relation_pair(self._said(description), target, relation, anchor)
        return None

    def two_targets(self) -> WorldPair | None:
        if len(self._unique) < 2:
            return None
        first, description = self._unique_thing()
        second, other_description = self._unique_thing(but=first)
        phrase, other = self._said(description), self._said(other_description)
        instruction = self._one(templates.TWO_TARGETS).format(a=phrase, b=other)
        return self._pair("two_targets", instruction, (phrase, other), (first, second))

    def counting(self) -> WorldPair | None:
        by_count: dict[int, list[Description]] = {}
        for description, bits in self._fitting.items():
            by_count.setdefault(bits.bit_count(), []).append(description)
        counts = [count for count in sorted(by_count) if count <= templates.MAX_COUNT]
        count = self._one(counts)
        description = self._favoured([(description, 0) for description in by_count[count]])[0]
        phrase = self._said(description)
        instruction = self._one(templates.COUNTING).format(a=plural(phrase))
        targets = members(self._fitting[description])
        return self._pair("counting", instruction, (phrase,), targets, answer=str(count), quantity="all")

    def question(self) -> WorldPair | None:
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
        instruction = self._one(templates.QUESTION[asked]).format(a=phrase)
        return self._pair("question", instruction, (phrase,), (target,), answer=answer)

    def absent(self) -> WorldPair | None:
        """Ask for a thing as "attribute" does, with one word changed so that nothing fits."""
        for _ in range(ABSENT_TRIES if self._unique else 0):
            _, description = self._unique_thing()
            changed = self._one(description.given)
            options = [description._replace(**{changed: word}) for word in ATTRIBUTES[changed]]
            options = [option for option in options if option not in self._fitting and self._may_be_named(option)]
            if options:
                phrase = self._said(self._one(options))
                return self._pair("absent", self._one(templates.FIND).format(a=phrase), (phrase,), ())
        return None

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
        instruction = self._one(templates.RELATION).format(a=phrase, b=other, r=words)
        return self._pair("relation", instruction, (phrase,), (target,), anchor=other, relation=relation)

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
        self,
        kind: str,
        instruction: str,
        phrases: tuple[str, ...],
        targets: tuple[int, ...],
        *,
        anchor: str = "",
        relation: str = "",
        quantity: Literal["one", "all"] = "one",
        answer: str = "",
    ) -> WorldPair:
        things = self._scene.things
        return WorldPair(
            kind=kind,
            instruction=instruction[0].upper() + instruction[1:],
            phrases=phrases,
            anchor=anchor,
            relation=relation,
            quantity=quantity,
            targets=targets,
            answer=answer,
            difficulty=difficulty(self._scene, kind, phrases, targets),
            novel=any((things[i].colour, things[i].shape) in HELD_OUT for i in targets),
        )


def difficulty(scene: Scene, kind: str, phrases: tuple[str, ...], targets: tuple[int, ...]) -> Difficulty:
    """Count the hurdles that the module's docstring lists."""
    wanted: list[Thing | Description] = [scene.things[i] for i in targets] or [parse(phrase) for phrase in phrases]
    others = [thing for i, thing in enumerate(scene.things) if i not in targets]
    alike = sum(any(_shared(thing, one) >= 2 for one in wanted) for thing in others)
    hidden = any(scene.things[i].visible < CLEAR or scene.things[i].mask_HW.sum() < TINY for i in targets)
    hurdles = (kind in ("relation", "two_targets", "counting")) + (alike >= CROWD) + hidden
    return ("easy", "medium", "hard", "hard")[hurdles]


def _shared(thing: Thing, other: Thing | Description) -> int:
    return sum(getattr(thing, name) == getattr(other, name) for name in ATTRIBUTES)
