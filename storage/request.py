"""What an instruction asks for: things with the words that refer to them, the whole image, or nothing to point at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["things", "whole image", "nothing"]
"""What an instruction is about; "nothing": there is nothing in an image to point at ("Hello!")."""
Order = Literal["", "left", "right", "top", "bottom", "largest", "smallest"]
"""The side from which things are counted, or the size by which they are ranked; "" for no order."""
Quantity = Literal["one", "all"]

ALL = 0
"""`Thing.count` where every thing that fits is meant."""
BETWEEN, NEAREST, FARTHEST, EXCEPT, OR = "between", "nearest to", "farthest from", "except", "or"
DIRECTIONS = ("left of", "right of", "above", "below")
RELATIONS = (*DIRECTIONS, BETWEEN, NEAREST, FARTHEST)
"""Relations that the geometry of boxes decides."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that an instruction names: a target, or what describes one.

    Attributes:
        expression: the words that refer to it: "man not wearing hat", "second cup from left".
        noun: what a detector knows of it: "man", "cup"; "" where that is the expression.
        count: how many are meant; `ALL` for every one that fits.
        order, rank: the `rank`-th counted in this order: rank 2 and "left" are the second from the left.
        reads: it is writing, to be read.
        step: the step of the instruction that needs it first, from 1.
        of: index of the earlier thing that this one describes; -1 for a target.
        relation: how thing `of` lies to this one, a member of `RELATIONS` or free words ("inside"); "between" stands on
            both anchors. "except": this one is not meant. "or": this one is meant where thing `of` is not there.
            "" for a target.
    """

    expression: str
    noun: str = ""
    count: int = 1
    order: Order = ""
    rank: int = 1
    reads: bool = False
    step: int = 1
    of: int = -1
    relation: str = ""

    @property
    def phrase(self) -> str:
        """What grounder and verifier are asked about: the expression, or the noun where an order picks among those."""
        return self.noun if self.order and self.noun else self.expression


@dataclass(frozen=True, slots=True)
class Request:
    """An instruction as the engine reads it.

    Attributes:
        things: targets and what describes them, each after the thing that it describes; none unless `scope`
            is "things".
        understood: share of the instruction's words that rewriter and grounder know.
        answer: the rewriter's answer as it stood.
        notes: what was done to read the answer, for a person.
        instruction: what was asked, in a person's words, for experts that read these; not stored with a request. "":
            the things are all that is known.

    Raises:
        ValueError: things that do not hold together, with what is wrong.
    """

    things: tuple[Thing, ...] = ()
    scope: Scope = "things"
    understood: float = 1.0
    answer: str = ""
    notes: tuple[str, ...] = ()
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.scope not in get_args(Scope) or (self.things and self.scope != "things"):
            raise ValueError(f"scope must be one of {get_args(Scope)}, and 'things' with things; got {self.scope!r}")
        for index, thing in enumerate(self.things):
            if not thing.expression.strip():
                raise ValueError(f"thing {index} has no words")
            if not -1 <= thing.of < index or (thing.of >= 0) != bool(thing.relation):
                raise ValueError(f"thing {index} must have a relation to an earlier thing, or none at all: {thing}")
            if thing.count < 0 or thing.rank < 1 or thing.step < 1 or thing.order not in get_args(Order):
                raise ValueError(f"thing {index} has a count, rank, step or order out of range: {thing}")

    @classmethod
    def of(cls, phrases: tuple[str, ...], anchor: str = "", relation: str = "", quantity: Quantity = "one") -> Request:
        """A request in its short form: all targets have the same count, relation and anchor."""
        targets = [Thing(phrase, count=ALL if quantity == "all" else 1) for phrase in phrases]
        anchors = [Thing(anchor, of=index, relation=relation) for index in range(len(targets)) if anchor and relation]
        return cls((*targets, *anchors))

    @property
    def targets(self) -> tuple[int, ...]:
        """Indices of the things that are meant, without their alternatives."""
        return tuple(index for index, thing in enumerate(self.things) if thing.of < 0)

    def options(self, target: int) -> tuple[int, ...]:
        """A target and its alternatives, of which one is meant."""
        return (target, *(i for i, thing in self.describing(target) if thing.relation == OR))

    def describing(self, index: int) -> Iterator[tuple[int, Thing]]:
        """The things that describe this one, with their indices."""
        return ((i, thing) for i, thing in enumerate(self.things) if thing.of == index)

    @property
    def phrases(self) -> tuple[str, ...]:
        """What is asked about the targets and their alternatives, each once."""
        wanted = (self.things[i].phrase for target in self.targets for i in self.options(target))
        return tuple(dict.fromkeys(wanted))

    def unfound(self, found: Collection[str]) -> tuple[str, ...]:
        """Targets that none of the found phrases shows, as their options joined with " or ".

        A target with alternatives needs one of them; a request for all that match needs one phrase of any.
        """
        if self.quantity == "all" and found:
            return ()
        options = ([self.things[i].phrase for i in self.options(target)] for target in self.targets)
        return tuple(" or ".join(phrases) for phrases in options if not set(found) & set(phrases))

    @property
    def described_by(self) -> tuple[str, ...]:
        """What is asked about the things that are named to describe others, each once."""
        others = (thing.phrase for thing in self.things if thing.of >= 0 and thing.relation != OR)
        return tuple(dict.fromkeys(others))

    @property
    def relation(self) -> str:
        """The first relation by which a target is described; "" where there is none."""
        return next((thing.relation for thing in self._relations()), "")

    @property
    def anchor(self) -> str:
        """Expression of the thing in that relation, two with "and" for "between"; "" where there is none."""
        first = next(self._relations(), None)
        if first is None:
            return ""
        same = (t.expression for t in self._relations() if (t.of, t.relation) == (first.of, first.relation))
        return " and ".join(dict.fromkeys(same)) if first.relation == BETWEEN else first.expression

    @property
    def quantity(self) -> Quantity:
        """ "all" where several things are meant by every target."""
        targets = [self.things[index] for index in self.targets]
        return "all" if targets and all(thing.count != 1 for thing in targets) else "one"

    def _relations(self) -> Iterator[Thing]:
        return (t for t in self.things if t.of >= 0 and self.things[t.of].of < 0 and t.relation not in (EXCEPT, OR))
