"""The procedural world in motion: things drift, turn, cover each other and leave, and the camera shakes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ivm_data.worlds import painting
from ivm_data.worlds.scene import ACROSS, COLOURS, IMAGE_SIZE, RGB, SHAPES, SIZES, TEXTURES, Look, seeded
from ivm_data.worlds.split import Split
from storage.errors import ConfigError

SPEED, TURN, SHAKE = 1.6, 0.03, 1.0
"""Greatest speed in pixels a frame, turn in radians a frame, and standard deviation of the camera's place in pixels."""
THINGS = (3, 6)
_MARGIN = 16
_STREAM = 7
"""Of random numbers, apart from those of still scenes."""


@dataclass(frozen=True)
class Episode:
    """Frames, and what each shows of each thing.

    Attributes:
        images: HWC uint8 RGB, IMAGE_SIZE squared.
        looks: of the things, from back to front; no two have one colour.
        masks: for each thing a mask of its visible pixels a frame, HW bool; empty where it is covered or has left.
    """

    images: tuple[np.ndarray, ...]
    looks: tuple[Look, ...]
    masks: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class _Mover:
    look: Look
    radius: float
    start_2: np.ndarray
    speed_2: np.ndarray
    angle: float
    turn: float
    paint_C: np.ndarray
    seed: int


def draw_episode(split: Split, index: int, frames: int = 40) -> Episode:
    """Draw episode `index` of a split: the same pixels on every call.

    Raises:
        ConfigError: an unknown split, a negative index, or no frame.
    """
    if frames < 1:
        raise ConfigError(f"an episode has 1 frame or more, got {frames}")
    rng = seeded(split, index, _STREAM)
    ground_HWC = painting.background(IMAGE_SIZE + 2 * _MARGIN, rng)
    colours = rng.permutation(COLOURS)[: int(rng.integers(THINGS[0], THINGS[1] + 1))]
    movers = [_mover(str(colour), rng) for colour in colours]
    light = int(rng.integers(1 << 31))
    images, owners = [], []
    for frame in range(frames):
        camera_2 = np.clip(np.round(rng.normal(0, SHAKE, 2)), -_MARGIN, _MARGIN).astype(int)
        image_HWC, owner_HW = _frame(ground_HWC, movers, frame, camera_2)
        images.append(painting.lit(image_HWC, np.random.default_rng(light)))
        owners.append(owner_HW)
    masks = tuple(tuple(owner_HW == number for owner_HW in owners) for number in range(len(movers)))
    return Episode(tuple(images), tuple(mover.look for mover in movers), masks)


def _mover(colour: str, rng: np.random.Generator) -> _Mover:
    size = str(rng.choice(SIZES))
    look = Look(size, str(rng.choice(TEXTURES)), colour, str(rng.choice(SHAPES)))
    way, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0, SPEED)
    return _Mover(
        look=look,
        radius=rng.uniform(*ACROSS[size]) / 2,
        start_2=rng.uniform(20, IMAGE_SIZE - 20, 2) + _MARGIN,
        speed_2=speed * np.array([math.cos(way), math.sin(way)]),
        angle=rng.uniform(0, 2 * math.pi),
        turn=rng.uniform(-TURN, TURN),
        paint_C=painting.jittered(RGB[colour], rng),
        seed=int(rng.integers(1 << 31)),
    )


def _frame(
    ground_HWC: np.ndarray, movers: list[_Mover], frame: int, camera_2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A frame before the light, and the number of the thing that each pixel shows, -1 for the ground."""
    canvas_HWC, owner_HW = ground_HWC.copy(), np.full(ground_HWC.shape[:2], -1)
    for number, mover in enumerate(movers):
        alpha_HW = painting.stencil(mover.look.shape, mover.radius, mover.angle + mover.turn * frame)
        tone_HW = painting.texture(mover.look.texture, alpha_HW, mover.radius, np.random.default_rng(mover.seed))
        x, y = np.round(mover.start_2 + mover.speed_2 * frame).astype(int) - len(alpha_HW) // 2
        window, part = _overlap((x, y), len(alpha_HW), canvas_HWC.shape[0])
        paint_HWC, alpha_HW = (mover.paint_C * tone_HW[..., None])[part], alpha_HW[part]
        canvas_HWC[window] += alpha_HW[..., None] * (paint_HWC - canvas_HWC[window])
        owner_HW[window][alpha_HW >= 0.5] = number
    x, y = camera_2 + _MARGIN
    window = np.s_[y : y + IMAGE_SIZE, x : x + IMAGE_SIZE]
    return canvas_HWC[window], owner_HW[window]


def _overlap(place: tuple[int, int], side: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a square lies on the canvas, and which part of it does; empty slices where none does."""
    spans = [(min(max(start, 0), width), min(max(start + side, 0), width), start) for start in reversed(place)]
    (y0, y1, y), (x0, x1, x) = spans
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
