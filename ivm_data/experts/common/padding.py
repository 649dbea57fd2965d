"""Images of extreme shape made less extreme for models that would lose them."""

from __future__ import annotations

import numpy as np


def padded_image(image_HWC: np.ndarray, max_aspect: int) -> np.ndarray:
    """The image with black to the right or below, where it is more than `max_aspect` times as long as wide."""
    height, width = image_HWC.shape[:2]
    missing = (max(0, -(-width // max_aspect) - height), max(0, -(-height // max_aspect) - width), 0)
    return np.pad(image_HWC, [(0, pad) for pad in missing]) if any(missing) else image_HWC
