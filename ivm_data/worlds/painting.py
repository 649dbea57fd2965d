"""Brushes of the procedural world: backgrounds, anti-aliased stencils, textures and light, drawn with OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np

SUPERSAMPLING = 4
REACH = 1.25
"""A stencil's farthest corner from its centre, in radii."""
MARK_TONE = 0.38
"""Brightness of stripes and dots relative to the colour that they lie on."""
RIM_STRENGTH = 0.4
"""Strength of stripes and dots on a thing's outermost pixel."""
NOISE = (2, 7)
"""Standard deviation of the sensor noise, in grey levels."""
TRIANGULAR_STD = math.sqrt(2 * (256**2 - 1) / 12)


def _star() -> np.ndarray:
    angles_N = np.arange(10) * math.pi / 5
    radii_N = np.where(np.arange(10) % 2 == 0, 1.22, 0.52)
    return np.stack([radii_N * np.sin(angles_N), -radii_N * np.cos(angles_N)], axis=1)


def _cross(length: float = 1.08, half: float = 0.35) -> np.ndarray:
    arm = [(-half, -length), (half, -length), (half, -half)]
    turns = [np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) for a in np.arange(4) * math.pi / 2]
    return np.concatenate([np.array(arm) @ turn.T for turn in turns])


OUTLINES: dict[str, np.ndarray] = {
    "square": np.array([(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
    "triangle": 1.22 * np.array([(math.sin(a), -math.cos(a)) for a in np.arange(3) * 2 * math.pi / 3]),
    "star": _star(),
    "cross": _cross(),
}
"""Corners of the straight-edged shapes, (x, y) in radii."""
RING_HOLE = 0.46
"""Radius of a ring's hole, in radii."""


def stencil(shape: str, radius: float, angle: float) -> np.ndarray:
    """Coverage of a shape's pixels on a square patch around its centre.

    Args:
        shape: a key of `OUTLINES`, "circle" or "ring".
        radius: in pixels.
        angle: in radians.

    Returns:
        Float32 (side, side) in [0, 1], side = 2 ceil(1.25 radius) + 2.
    """
    half = math.ceil(REACH * radius) + 1
    side = 2 * half * SUPERSAMPLING
    fine = np.zeros((side, side), np.uint8)
    centre, scale = side / 2 - 0.5, radius * SUPERSAMPLING
    if shape in OUTLINES:
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        corners_N2 = OUTLINES[shape] @ turn.T * scale + centre
        cv2.fillPoly(fine, [np.round(corners_N2).astype(np.int32)], 255)
    else:
        middle = (round(centre), round(centre))
        cv2.circle(fine, middle, round(scale), 255, -1)
        if shape == "ring":
            cv2.circle(fine, middle, round(scale * RING_HOLE), 0, -1)
    patch = cv2.resize(fine, (2 * half, 2 * half), interpolation=cv2.INTER_AREA)
    return patch.astype(np.float32) / 255


def texture(name: str, alpha_HW: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness factor of a texture over a stencil: float32 of its shape, in [MARK_TONE, 1].

    Marks are weak on the outermost pixel, so that they do not pass for background there.
    """
    if name == "plain":
        return np.ones_like(alpha_HW)
    side = len(alpha_HW)
    angle, phase_u, phase_v = rng.random(3, dtype=np.float32) * np.float32(math.pi)
    axis = np.arange(side, dtype=np.float32) - side / 2
    u = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    if name == "striped":
        pitch = max(4.6, 0.42 * radius)
        mark_HW = np.clip(0.4 + 1.5 * np.sin(2 * math.pi / pitch * u + phase_u), 0, 1)
    else:
        pitch = max(4.8, 0.45 * radius)
        v = math.cos(angle) * axis[:, None] - math.sin(angle) * axis[None, :]
        du = (u + phase_u) % pitch - pitch / 2
        dv = (v + phase_v) % pitch - pitch / 2
        mark_HW = np.clip(0.34 * pitch + 0.5 - np.sqrt(du * du + dv * dv), 0, 1)
    strength_HW = RIM_STRENGTH + (1 - RIM_STRENGTH) * cv2.erode(alpha_HW, np.ones((3, 3), np.uint8))
    tone_HW: np.ndarray = 1 - (1 - MARK_TONE) * mark_HW * strength_HW
    return tone_HW


def jittered(rgb: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A colour with another hue (+-4 degrees), saturation (+-8 %) and value (+-6 %); float32 (3,) in [0, 255]."""
    hue, saturation, value = cv2.cvtColor(np.array([[rgb]], np.float32) / 255, cv2.COLOR_RGB2HSV)[0, 0]
    shift, fade, light = rng.uniform(-1, 1, 3)
    hsv = np.array(
        [[[(hue + 4 * shift) % 360, min(1, saturation * (1 + 0.08 * fade)), min(1, value * (1 + 0.06 * light))]]]
    )
    rgb_C: np.ndarray = cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB)[0, 0] * 255
    return rgb_C


def background(side: int, rng: np.random.Generator) -> np.ndarray:
    """A textured backdrop of two muted greys, so that no object's colour drowns in it; float32 (side, side, 3)."""
    field_HW = _FIELDS[rng.integers(len(_FIELDS))](side, rng)
    grey = rng.uniform(45, 135)
    tint_C = rng.uniform(-16, 16, 3)
    step_C = rng.uniform(15, 42) * (1 if grey < 90 else -1) + rng.uniform(-8, 8, 3)
    channels = [field_HW * step + (grey + tint) for step, tint in np.stack([step_C, tint_C], axis=1).tolist()]
    backdrop_HWC: np.ndarray = cv2.merge(channels)
    return backdrop_HWC


def lit(image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image under a slanting light, with sensor noise (triangular: the sum of two random bytes); uint8."""
    side = image_HWC.shape[0]
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    level, slope_x, slope_y = rng.uniform((0.94, -0.09, -0.09), (1.04, 0.09, 0.09)).astype(np.float32)
    light_HW = level + slope_x * ramp[None, :] + slope_y * ramp[:, None]
    grain_HWC: np.ndarray = np.add(*rng.integers(0, 256, (2, *image_HWC.shape), np.uint8), dtype=np.float32)
    grain_HWC -= 255
    grain_HWC *= np.float32(rng.uniform(*NOISE) / TRIANGULAR_STD)
    grain_HWC += image_HWC * light_HW[..., None]
    np.clip(grain_HWC, 0, 255, out=grain_HWC)
    return grain_HWC.astype(np.uint8)


def _slanted(side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two rotated axes over the image, in pixels."""
    angle = rng.uniform(0, math.pi)
    axis = np.arange(side, dtype=np.float32)
    u = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    v = math.cos(angle) * axis[:, None] - math.sin(angle) * axis[None, :]
    return u, v


def _noise(side: int, rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.integers(6, 40))
    return cv2.resize(rng.random((cells, cells), dtype=np.float32), (side, side), interpolation=cv2.INTER_LINEAR)


def _gradient(side: int, rng: np.random.Generator) -> np.ndarray:
    u, _ = _slanted(side, rng)
    share_HW: np.ndarray = (u - u.min()) / (u.max() - u.min())
    return share_HW


def _stripes(side: int, rng: np.random.Generator) -> np.ndarray:
    u, _ = _slanted(side, rng)
    return np.clip(0.5 + np.sin(2 * math.pi / rng.uniform(10, 40) * u), 0, 1)


def _checker(side: int, rng: np.random.Generator) -> np.ndarray:
    u, v = _slanted(side, rng)
    cell = rng.uniform(8, 26)
    dark_HW = (u / cell + side).astype(np.int32) + (v / cell + side).astype(np.int32)
    return (dark_HW & 1).astype(np.float32)


def _blobs(side: int, rng: np.random.Generator) -> np.ndarray:
    field_HW = np.zeros((side, side), np.float32)
    for x, y, a, b, turn in rng.uniform((0, 0, 5, 5, 0), (side, side, 26, 26, 180), (int(rng.integers(6, 18)), 5)):
        cv2.ellipse(field_HW, (int(x), int(y)), (int(a), int(b)), turn, 0, 360, rng.uniform(0.3, 1), -1)
    return cv2.blur(field_HW, (7, 7))


_FIELDS = (_noise, _gradient, _stripes, _checker, _blobs)
