"""Scenes of the procedural world: things on a textured background, each with the exact mask of its visible pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ivm_data.worlds import painting
from ivm_data.worlds.split import Split
from storage.errors import ConfigError
from storage.records import Box

IMAGE_SIZE = 128
"""Side of every image in pixels."""
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
RGB: dict[str, tuple[int, int, int]] = {
    "red": (218, 30, 38),
    "orange": (250, 128, 12),
    "yellow": (250, 226, 40),
    "green": (36, 170, 60),
    "blue": (40, 92, 230),
    "purple": (158, 52, 196),
    "white": (242, 242, 242),
}
COLOURS = tuple(RGB)
ACROSS: dict[str, tuple[float, float]] = {"small": (15, 20), "big": (29, 40)}
"""Least and greatest diameter of each size, in pixels."""
SIZES = tuple(ACROSS)
TEXTURES = ("plain", "striped", "dotted")
ATTRIBUTES: dict[str, tuple[str, ...]] = {"size": SIZES, "texture": TEXTURES, "colour": COLOURS, "shape": SHAPES}
"""Every attribute with its words, in the order of a noun phrase."""
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "triangle"),
        ("orange", "cross"),
        ("yellow", "star"),
        ("green", "ring"),
        ("blue", "circle"),
        ("purple", "square"),
        ("white", "ring"),
    }
)
"""(colour, shape) combinations that only the test split shows."""

COUNTS = (3, 10)
MIN_VISIBLE = 0.45
"""Least share of a thing's own pixels that later things leave uncovered."""
KIN_SHARE = 0.6
"""Chance that a thing is made after an earlier one, with at most two attributes changed: the distractors."""
TRIES_PER_THING = 12
_ENTROPY: dict[str, int] = {"train": 0x7261696E, "val": 0x76616C, "test": 0x74657374}


@dataclass(frozen=True)
class Look:
    """The four words that describe a thing."""

    size: str
    texture: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        mask_HW: bool, the visible pixels only.
        box: of the visible pixels.
        visible: share of the thing's own pixels that nothing covers, in [MIN_VISIBLE, 1].
    """

    shape: str
    colour: str
    size: str
    texture: str
    mask_HW: np.ndarray
    box: Box
    visible: float


@dataclass(frozen=True)
class Scene:
    """An image and everything in it, from back to front; `image_HWC` is uint8 RGB, IMAGE_SIZE squared."""

    split: Split
    index: int
    image_HWC: np.ndarray
    things: tuple[Thing, ...]


def seeded(split: Split, index: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of one scene; no two (split, index, stream) share a seed.

    Raises:
        ConfigError: for an unknown split or a negative index.
    """
    if split not in _ENTROPY:
        raise ConfigError(f"split must be one of {sorted(_ENTROPY)}, got {split!r}")
    if index < 0:
        raise ConfigError(f"scene index must be 0 or more, got {index}")
    return np.random.default_rng(np.random.SeedSequence(_ENTROPY[split], spawn_key=(index, stream)))


def draw_scene(split: Split, index: int) -> Scene:
    """Draw scene `index` of a split: the same pixels on every call.

    Raises:
        ConfigError: for an unknown split or a negative index.
    """
    rng = seeded(split, index)
    easel = Easel(painting.background(IMAGE_SIZE, rng))
    wanted = int(rng.integers(COUNTS[0], COUNTS[1] + 1))
    tries = 0
    while len(easel.looks) < wanted and (tries < TRIES_PER_THING * wanted or len(easel.looks) < COUNTS[0]):
        tries += 1
        easel.try_to_add(_look(easel.looks, split, rng), rng)
    return Scene(split, index, painting.lit(easel.canvas_HWC, rng), easel.things())


def _look(earlier: list[Look], split: Split, rng: np.random.Generator) -> Look:
    """Draw the words of a new thing, often close to those of an earlier one."""
    while True:
        if earlier and rng.random() < KIN_SHARE:
            changed = rng.permutation(list(ATTRIBUTES))[: rng.choice(3, p=(0.15, 0.45, 0.4))]
            look = replace(earlier[rng.integers(len(earlier))], **{name: _word(name, rng) for name in changed})
        else:
            look = Look(*(_word(name, rng) for name in ATTRIBUTES))
        if split == "test" or (look.colour, look.shape) not in HELD_OUT:
            return look


def _word(attribute: str, rng: np.random.Generator) -> str:
    words = ATTRIBUTES[attribute]
    return words[rng.integers(len(words))]


class Easel:
    """A canvas that knows whose pixels it shows.

    Attributes:
        bare: how many of the first things nothing may cover.
    """

    def __init__(self, canvas_HWC: np.ndarray) -> None:
        self.canvas_HWC = canvas_HWC
        self.bare = 0
        self.looks: list[Look] = []
        self._owner_HW = np.full(canvas_HWC.shape[:2], -1, np.int64)
        self._areas: list[int] = []
        self._shown: list[int] = []

    def try_to_add(self, look: Look, rng: np.random.Generator, at: tuple[int, int] | None = None) -> None:
        """Paint a thing, unless it would hide too much or overlap a thing of its own colour.

        Args:
            at: (x, y) of its middle, far enough from the edges; None for a random place.
        """
        radius = rng.uniform(*ACROSS[look.size]) / 2
        alpha = painting.stencil(look.shape, radius, rng.uniform(0, 2 * math.pi))
        side = alpha.shape[0]
        x, y = rng.integers(0, self.canvas_HWC.shape[0] - side + 1, 2) if at is None else np.array(at) - side // 2
        window = np.s_[y : y + side, x : x + side]
        inside = alpha >= 0.5
        covered = np.bincount(self._owner_HW[window][inside] + 1, minlength=len(self.looks) + 1)[1:].tolist()
        if not self._may_cover(covered, look):
            return
        tone = painting.texture(look.texture, alpha, radius, rng)
        paint = painting.jittered(RGB[look.colour], rng) * tone[..., None]
        self.canvas_HWC[window] += alpha[..., None] * (paint - self.canvas_HWC[window])
        self._owner_HW[window][inside] = len(self.looks)
        self.looks.append(look)
        area = int(inside.sum())
        self._areas.append(area)
        self._shown = [shown - hidden for shown, hidden in zip(self._shown, covered, strict=True)] + [area]

    def _may_cover(self, covered: list[int], look: Look) -> bool:
        return not any(covered[: self.bare]) and not any(
            hidden and (shown - hidden < MIN_VISIBLE * area or earlier.colour == look.colour)
            for hidden, shown, area, earlier in zip(covered, self._shown, self._areas, self.looks, strict=True)
        )

    def things(self) -> tuple[Thing, ...]:
        """What was painted, from back to front."""
        return tuple(self._thing(i, look) for i, look in enumerate(self.looks))

    def _thing(self, index: int, look: Look) -> Thing:
        mask_HW = self._owner_HW == index
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        visible = self._shown[index] / self._areas[index]
        return Thing(look.shape, look.colour, look.size, look.texture, mask_HW, box, visible)
