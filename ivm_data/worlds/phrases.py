"""Noun phrases of the procedural world, `[size] [texture] [colour] shape`, and which things they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from ivm_data.worlds.scene import ATTRIBUTES, SHAPES, Thing
from storage.errors import ConfigError

NOUNS = ("thing", "object")
"""Words in the place of a shape that is not named."""
PLURALS = {noun: noun + ("es" if noun.endswith("s") else "s") for noun in (*SHAPES, *NOUNS)}


class Description(NamedTuple):
    """What is said of a thing; "" is not said. The fields stand in the order of the words."""

    size: str = ""
    texture: str = ""
    colour: str = ""
    shape: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the attributes that are said."""
        return tuple(name for name in ATTRIBUTES if getattr(self, name))

    def fits(self, thing: Thing) -> bool:
        """Whether the thing has every attribute that is said."""
        return all(getattr(thing, name) == getattr(self, name) for name in self.given)

    def text(self, noun: str = "thing") -> str:
        """The noun phrase; `noun` stands for a shape that is not said."""
        return " ".join(word for word in (self.size, self.texture, self.colour, self.shape or noun) if word)


_ATTRIBUTE_OF = {word: name for name, words in ATTRIBUTES.items() for word in words}
_SUBSETS = [keep for keep in product((False, True), repeat=len(ATTRIBUTES)) if any(keep)]


def parse(phrase: str) -> Description:
    """Read a noun phrase.

    Raises:
        ConfigError: where the phrase is not `[size] [texture] [colour] shape` in the world's words.
    """
    words = phrase.split()
    description = Description(**{_ATTRIBUTE_OF[word]: word for word in words if word in _ATTRIBUTE_OF})
    if not words or phrase != description.text(words[-1]) or words[-1] not in PLURALS:
        raise ConfigError(
            f"phrase must be '[size] [texture] [colour] shape' in words of {ATTRIBUTES}, "
            f"or with a noun of {NOUNS} for the shape, got {phrase!r}"
        )
    return description


def matches(thing: Thing, phrase: str) -> bool:
    """Whether a thing fits a noun phrase such as "small striped red ring" or "big thing".

    Raises:
        ConfigError: where the phrase is not one of this world's.
    """
    return parse(phrase).fits(thing)


def plural(phrase: str) -> str:
    """ "small circle" -> "small circles"."""
    head, _, noun = phrase.rpartition(" ")
    return f"{head} {PLURALS[noun]}".lstrip()


def describe(things: Sequence[Thing]) -> Mapping[Description, int]:
    """Every description that fits something, with the set of things that it fits as a bit mask (bit i: things[i])."""
    return _describe(tuple((thing.size, thing.texture, thing.colour, thing.shape) for thing in things))


@lru_cache(maxsize=16)
def _describe(looks: tuple[tuple[str, ...], ...]) -> Mapping[Description, int]:
    """Many instructions are composed about one scene in a row."""
    fitting: dict[Description, int] = {}
    for index, words in enumerate(looks):
        for keep in _SUBSETS:
            description = Description(*(word if kept else "" for word, kept in zip(words, keep, strict=True)))
            fitting[description] = fitting.get(description, 0) | 1 << index
    return MappingProxyType(fitting)


def members(bits: int) -> tuple[int, ...]:
    """Indices of the set bits, ascending."""
    return tuple(index for index in range(bits.bit_length()) if bits >> index & 1)
