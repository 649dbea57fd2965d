"""Scenes in false colours: what a shape is must not depend on what has a colour."""

from __future__ import annotations

import numpy as np

from ivm_data.worlds.scene import COLOURS, HELD_OUT, RGB, Scene

FALSE_TRIES = 8
GREY = (40.0, 190.0)
"""Darkest and brightest pixel of a grey look: nothing in it is as bright as what is called white."""
_NAMED_KC = np.array(list(RGB.values()), np.float32)


def recoloured(image_HWC: np.ndarray, label_HW: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """An image whose channels are mixed at random; nothing in it comes near a colour that is held out for its shape.

    Where no mix is found it is grey. Its colours have no names.

    Args:
        label_HW: uint8, 0 for background, i + 1 for `scene.things[i]`.
    """
    pixels_NC, label_N = image_HWC.reshape(-1, 3).astype(np.float32), label_HW.ravel()
    for _ in range(FALSE_TRIES):
        mixed_NC = pixels_NC @ rng.normal(0.2, 0.5, (3, 3)).astype(np.float32)
        mixed_NC = (mixed_NC - mixed_NC.mean(0)) / (mixed_NC.std(0) + 1e-3)
        mixed_NC = np.clip(rng.uniform(90, 165) + rng.uniform(35, 65) * mixed_NC, 0, 255)
        if not _shows_held_out(mixed_NC, label_N, scene):
            break
    else:
        grey_N = pixels_NC @ rng.normal(0.33, 0.5, 3).astype(np.float32)
        grey_N = (grey_N - grey_N.min()) / max(np.ptp(grey_N), 1e-3)
        mixed_NC = np.repeat(GREY[0] + grey_N[:, None] * (GREY[1] - GREY[0]), 3, 1)
    return mixed_NC.reshape(image_HWC.shape).astype(np.uint8)


def _shows_held_out(pixels_NC: np.ndarray, label_N: np.ndarray, scene: Scene) -> bool:
    """Whether the named colour that is nearest to a thing's mean is held out for its shape."""
    count = len(scene.things) + 1
    shown_K = np.bincount(label_N, minlength=count)
    mean_KC = np.stack([np.bincount(label_N, pixels_NC[:, c], count) for c in range(3)], 1) / (shown_K[:, None] + 1e-6)
    nearest_K = ((mean_KC[:, None] - _NAMED_KC) ** 2).sum(-1).argmin(1)
    return any(
        shown_K[k] and (COLOURS[nearest_K[k]], thing.shape) in HELD_OUT for k, thing in enumerate(scene.things, start=1)
    )
