"""What the procedural world's grammar gives: an instruction about a scene, and everything that is true of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ivm_data.worlds.phrases import Description, parse
from ivm_data.worlds.scene import ATTRIBUTES, Scene, Thing
from storage.request import Quantity, Request

Difficulty = Literal["easy", "medium", "hard"]
CROWD = 3
CLEAR = 0.75
TINY = 90
PLAIN_KINDS = ("attribute", "question", "absent", "either", "whole_image")
"""Kinds that need one thing, or nothing, to be right."""


@dataclass(frozen=True)
class WorldPair:
    """An instruction about a scene and everything that is true of it.

    Attributes:
        request: what the rewriter should make of it.
        targets: indices into `scene.things`, in the order of the request; empty for "absent" and "whole_image".
        answer: attribute word of "question", number of "counting", else "".
        novel: a target has a combination of HELD_OUT.
    """

    kind: str
    instruction: str
    request: Request
    targets: tuple[int, ...]
    answer: str
    difficulty: Difficulty
    novel: bool

    @property
    def phrases(self) -> tuple[str, ...]:
        """Noun phrases of the targets and their alternatives, singular."""
        return self.request.phrases

    @property
    def anchor(self) -> str:
        """Noun phrase that the target is described by, or ""; two with "and" for "between"."""
        return self.request.anchor

    @property
    def relation(self) -> str:
        """How the target lies to the anchor, or ""."""
        return self.request.relation

    @property
    def quantity(self) -> Quantity:
        """Whether one thing is meant or several."""
        return self.request.quantity

    @property
    def whole(self) -> bool:
        """Whether everything is meant."""
        return self.request.scope == "whole image"

    def mask_HW(self, scene: Scene) -> np.ndarray:
        """The pixels that the instruction needs, bool."""
        wanted_HW = np.full(scene.image_HWC.shape[:2], self.whole)
        for index in self.targets:
            wanted_HW |= scene.things[index].mask_HW
        return wanted_HW


def difficulty(scene: Scene, kind: str, phrases: tuple[str, ...], targets: tuple[int, ...]) -> Difficulty:
    """Count the hurdles that the docstring of `ivm_data.worlds.grammar` lists."""
    wanted: list[Thing | Description] = [scene.things[i] for i in targets] or [parse(phrase) for phrase in phrases]
    others = [thing for i, thing in enumerate(scene.things) if i not in targets]
    alike = sum(any(_shared(thing, one) >= 2 for one in wanted) for thing in others)
    hidden = any(scene.things[i].visible < CLEAR or scene.things[i].mask_HW.sum() < TINY for i in targets)
    hurdles = (kind not in PLAIN_KINDS) + (alike >= CROWD) + hidden
    return ("easy", "medium", "hard", "hard")[hurdles]


def _shared(thing: Thing, other: Thing | Description) -> int:
    return sum(getattr(thing, name) == getattr(other, name) for name in ATTRIBUTES)
