"""What the trainings of the embedded experts share: pixels, learning-rate schedule, minibatches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)
"""ImageNet statistics, as the processors of all three experts use them."""


def normalise(images_BHWC: np.ndarray) -> torch.Tensor:
    """uint8 RGB (B, H, W, 3) -> float32 (B, 3, H, W), zero mean and unit variance over ImageNet."""
    pixels_BHWC = torch.from_numpy(images_BHWC).float() / 255
    return ((pixels_BHWC - torch.tensor(MEAN_RGB)) / torch.tensor(STD_RGB)).permute(0, 3, 1, 2).contiguous()


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def minibatches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`steps` index arrays of `batch` rows: every row once in an epoch, in a new order each epoch."""
    order = np.zeros(0, np.int64)
    for _ in range(steps):
        while len(order) < batch:
            order = np.concatenate([order, rng.permutation(count)])
        yield order[:batch]
        order = order[batch:]
