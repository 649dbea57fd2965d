"""The compositional instruction grammar: a scene and a kind give an instruction with its true target set.

Every phrase stands word for word in its instruction (in the plural where several are meant), but for what is excluded
("the star that is not red") and what stands in the singular there. In the train and val splits no phrase names a
held-out combination. What ranks, lies between or near does so by margins (`ivm_data.worlds.ranks`). Difficulty counts
hurdles:

- kind: one for every kind that needs more than one thing to be right;
- likeness: one where CROWD or more other things share at least two words with a target (with the phrase, if absent);
- sight: one where a target is less than CLEAR visible or shows fewer than TINY pixels.

No hurdle is easy, one is medium, more are hard.
"""

from __future__ import annotations

import numpy as np

from ivm_data.worlds.pair import WorldPair, difficulty
from ivm_data.worlds.phrases import matches
from ivm_data.worlds.referring import Referring
from ivm_data.worlds.relations import RELATIONS, stands
from ivm_data.worlds.scene import Scene
from ivm_data.worlds.templates import vocabulary
from storage.errors import ConfigError

__all__ = [
    "ALL_KINDS",
    "KINDS",
    "MORE_KINDS",
    "RELATIONS",
    "WorldPair",
    "compose",
    "difficulty",
    "matches",
    "stands",
    "vocabulary",
]

KINDS = ("attribute", "relation", "two_targets", "counting", "question", "absent")
"""What a world holds unless it is asked for more: with them alone the worlds of earlier versions stay as they were."""
MORE_KINDS = (
    "ordinal",
    "superlative",
    "between",
    "nearest",
    "negation",
    "all_but",
    "number",
    "two_steps",
    "either",
    "whole_image",
)
ALL_KINDS = (*KINDS, *MORE_KINDS)


def compose(scene: Scene, kind: str, rng: np.random.Generator, *, free: bool = False) -> WorldPair | None:
    """Draw an instruction of a kind about a scene; None where the scene offers none.

    Args:
        free: say the first six kinds in the freer styles of `ivm_data.worlds.spoken`; the others always are.

    Raises:
        ConfigError: for an unknown kind.
    """
    if kind not in ALL_KINDS:
        raise ConfigError(f"kind must be one of {ALL_KINDS}, got {kind!r}")
    pair: WorldPair | None = getattr(Referring(scene, rng, free), kind)()
    return pair
