"""Situations for a small robot policy: a scene of the procedural world, an instruction, and the points to act on.

A demonstration's scene shows three to five things of the `KNOWN` shapes. A test scene is another one of these, and is
shown three times: as it is, with further things of the `KNOWN` shapes, and with further things of the `UNSEEN` shapes.
What is added covers nothing of the scene and fits no phrase of the instruction, so the right action stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ivm_data.worlds import painting
from ivm_data.worlds.grammar import WorldPair, compose
from ivm_data.worlds.phrases import parse
from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE, Easel, Look, Scene, seeded

Task = Literal["pick", "put"]
TASKS: tuple[Task, ...] = get_args(Task)
KINDS: dict[Task, str] = {"pick": "attribute", "put": "two_targets"}
"""Kind of the world's instructions. "pick" acts on one thing, "put" on two: which is named first matters."""
POINTS: dict[Task, int] = {"pick": 1, "put": 2}
Crowd = Literal["same", "more", "unseen"]
CROWDS: tuple[Crowd, ...] = get_args(Crowd)

KNOWN = ("circle", "square", "triangle")
UNSEEN = ("star", "ring", "cross")
"""Shapes that no demonstration shows."""
FIRST_TEST, FIRST_DEMONSTRATION = 90_000, 100_000
"""Indices of scenes. The streams are of their own as well: no other code draws these scenes, at any index."""
THINGS = (3, 5)
ADDED = 6
KIN_SHARE = 0.6
"""Chance that an added thing takes its colour, size or texture from a thing that is there."""
_SCENE_STREAM, _ADDED_STREAM, _LIGHT_STREAM = 11, 12, 13
_TRIES = 400


@dataclass(frozen=True)
class Situation:
    """What the policy is shown and what is true of it.

    Attributes:
        image_HWC: uint8 RGB.
        targets_KHW: bool, the visible pixels of each thing to act on, in the order of the instruction.
        things: how many the scene shows.
    """

    index: int
    image_HWC: np.ndarray
    instruction: str
    targets_KHW: np.ndarray
    things: int

    @property
    def points_K2(self) -> np.ndarray:
        """What is demonstrated: the centre (x, y) of each target's pixels, float32 in [0, 1] of the image's sides."""
        return np.stack([_centre(mask_HW) for mask_HW in self.targets_KHW])


def demonstrations(task: Task, count: int) -> list[Situation]:
    """The first `count` ones: fewer are always a part of more."""
    return [draw(task, index) for index in range(FIRST_DEMONSTRATION, FIRST_DEMONSTRATION + count)]


def trials(task: Task, crowd: Crowd, count: int) -> list[Situation]:
    """Test scenes; those of all crowds show the same scenes under the same instructions."""
    return [draw(task, index, crowd) for index in range(FIRST_TEST, FIRST_TEST + count)]


def draw(task: Task, index: int, crowd: Crowd = "same") -> Situation:
    """Draw a situation: the same on every call, whatever the order of calls."""
    rng = seeded("test", index, _SCENE_STREAM + 10 * TASKS.index(task))
    while True:
        easel = Easel(painting.background(IMAGE_SIZE, rng))
        wanted = int(rng.integers(THINGS[0], THINGS[1] + 1))
        for _ in range(_TRIES):
            if len(easel.looks) == wanted:
                break
            easel.try_to_add(_look(rng, KNOWN), rng)
        pair = compose(Scene("test", index, easel.canvas_HWC, easel.things()), KINDS[task], rng)
        if pair is not None and len(easel.looks) == wanted:
            break
    if crowd != "same":
        _add(easel, pair, {"more": KNOWN, "unseen": UNSEEN}[crowd], seeded("test", index, _ADDED_STREAM))
    image_HWC = painting.lit(easel.canvas_HWC, seeded("test", index, _LIGHT_STREAM))
    things = easel.things()
    masks = [things[target].mask_HW for target in pair.targets]
    return Situation(index, image_HWC, pair.instruction, np.stack(masks), len(things))


def _add(easel: Easel, pair: WorldPair, shapes: tuple[str, ...], rng: np.random.Generator) -> None:
    """Paint `ADDED` things over nothing that is there; fewer where the scene has no room."""
    there = tuple(easel.looks)
    easel.bare = len(there)
    for _ in range(_TRIES):
        if len(easel.looks) == len(there) + ADDED:
            break
        look = _look(rng, shapes)
        if rng.random() < KIN_SHARE:
            look = replace(there[rng.integers(len(there))], shape=look.shape)
        if not any(_fits(look, phrase) for phrase in pair.phrases):
            easel.try_to_add(look, rng)


def _fits(look: Look, phrase: str) -> bool:
    described = parse(phrase)
    return all(getattr(look, name) == getattr(described, name) for name in described.given)


def _look(rng: np.random.Generator, shapes: tuple[str, ...]) -> Look:
    words = {name: str(rng.choice(options)) for name, options in ATTRIBUTES.items()}
    return Look(**words | {"shape": str(rng.choice(shapes))})


def _centre(mask_HW: np.ndarray) -> np.ndarray:
    """(x, y) of the mean of the pixels' middles."""
    rows_N, columns_N = np.nonzero(mask_HW)
    height, width = mask_HW.shape
    return np.array([(columns_N.mean() + 0.5) / width, (rows_N.mean() + 0.5) / height], np.float32)
