"""What the miniature LMM is asked about things: true phrases, and phrases that are wrong by a word.

The combinations of colour and shape that training never shows are never denied: a model that learned that red is no
triangle would be wrong of the first red triangle that it meets.
"""

from __future__ import annotations

import re

import numpy as np

from ivm_data.worlds.phrases import NOUNS, PLURALS, Description
from ivm_data.worlds.scene import ATTRIBUTES, HELD_OUT, SHAPES, Scene, Thing

LENGTHS = (0.35, 0.35, 0.18, 0.12)
"""Shares of descriptions of one, two, three and four words."""
STRANGE_SHARE = 0.3
"""Of the instructions to rewrite, those with a strange noun."""
STRANGE = ("caption", "description", "sentence", "colour", "shape", "size", "texture", "number", "kind", "middle")
"""Words of the vocabulary that name no thing."""


def renamed(instruction: str, line: str, rng: np.random.Generator) -> tuple[str, str]:
    """An instruction and its request with one noun replaced in both by a word that names no thing.

    What stands in the instruction is to be copied, whatever the words before it: a rewriter that learned which shapes
    follow "white" would never write "white ring".
    """
    nouns = [word for word in dict.fromkeys(line.split()) if word in (*SHAPES, *NOUNS)]
    nouns = [word for word in nouns if PLURALS[word] not in instruction.lower()]
    if not nouns:
        return instruction, line
    pattern, strange = rf"\b{rng.choice(nouns)}\b", str(rng.choice(STRANGE))
    return re.sub(pattern, strange, instruction), re.sub(pattern, strange, line)


def describe(scene: Scene, index: int, rng: np.random.Generator, coloured: bool = True) -> Description:
    """A random part of what can be said of a thing; without its colour where the image does not show it."""
    names = [name for name in ATTRIBUTES if coloured or name != "colour"]
    given = rng.permutation(names)[: rng.choice(range(1, 5), p=LENGTHS)]
    return Description(**{name: getattr(scene.things[index], name) for name in given.tolist()})


def varied(description: Description, rng: np.random.Generator) -> Description:
    """One word changed; never a held-out combination, which training must not learn to deny."""
    while True:
        name = str(rng.choice(description.given))
        other = description._replace(**{name: str(rng.choice(ATTRIBUTES[name]))})
        if other != description and (other.colour, other.shape) not in HELD_OUT:
            return other


def noun(rng: np.random.Generator) -> str:
    """A word for a thing whose shape is not said."""
    return "thing" if rng.random() < 0.5 else "object"


def would_deny(description: Description, thing: Thing) -> bool:
    """Whether "no" would teach that a thing's colour never has this shape, or its shape this colour."""
    shape = description.colour in ("", thing.colour) and (thing.colour, description.shape) in HELD_OUT
    return shape or (description.shape in ("", thing.shape) and (description.colour, thing.shape) in HELD_OUT)
