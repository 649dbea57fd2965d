"""Statistics of a LeRobot set's features: of an episode, and of all of them. Images count in [0, 1], a channel each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Stats = dict[str, Any]
"""`min`, `max`, `mean`, `std` as nested lists, `count` as a list of one; `q01` and the like where a source has them."""


class ImageStats:
    """Running statistics of images of C channels, one at a time."""

    def __init__(self, channels: int = 3) -> None:
        self._low_C, self._high_C = np.full(channels, math.inf), np.full(channels, -math.inf)
        self._sum_C, self._square_C = np.zeros(channels), np.zeros(channels)
        self._frames, self._pixels = 0, 0

    def add(self, image_HWC: np.ndarray) -> None:
        """Count an image, uint8."""
        pixels_NC = image_HWC.reshape(-1, len(self._sum_C))
        for channel, pixels_N in enumerate(pixels_NC.T):
            counts = np.bincount(pixels_N, minlength=256)
            levels = np.flatnonzero(counts)
            shares = levels / 255
            self._low_C[channel] = min(self._low_C[channel], shares[0])
            self._high_C[channel] = max(self._high_C[channel], shares[-1])
            self._sum_C[channel] += counts[levels] @ shares
            self._square_C[channel] += counts[levels] @ shares**2
        self._frames += 1
        self._pixels += len(pixels_NC)

    def summary(self) -> Stats:
        """Statistics of shape (C, 1, 1), as LeRobot keeps those of cameras."""
        mean_C = self._sum_C / self._pixels
        std_C = np.sqrt(np.maximum(self._square_C / self._pixels - mean_C**2, 0.0))
        found = {"min": self._low_C, "max": self._high_C, "mean": mean_C, "std": std_C}
        return {name: [[[float(value)]] for value in values] for name, values in found.items()} | {
            "count": [self._frames]
        }


def of_numbers(values: Sequence[float]) -> Stats:
    """Statistics of a feature of one number a frame."""
    values_N = np.asarray(values, float)
    found = {"min": values_N.min(), "max": values_N.max(), "mean": values_N.mean(), "std": values_N.std()}
    return {name: [float(value)] for name, value in found.items()} | {"count": [len(values_N)]}


def united(episodes: Sequence[Mapping[str, Any]]) -> Stats:
    """Statistics of all frames from those of their episodes; quantiles become the episodes' mean by their length."""
    counts_E = np.array([episode["count"][0] for episode in episodes], float)
    share_E = counts_E / counts_E.sum()

    def weighted(name: str) -> np.ndarray:
        return np.tensordot(share_E, np.array([episode[name] for episode in episodes], float), 1)

    mean = weighted("mean")
    spread = [np.array(episode["std"], float) ** 2 + np.array(episode["mean"], float) ** 2 for episode in episodes]
    std = np.sqrt(np.maximum(np.tensordot(share_E, np.array(spread), 1) - mean**2, 0.0))
    found = {
        "min": np.min([episode["min"] for episode in episodes], axis=0),
        "max": np.max([episode["max"] for episode in episodes], axis=0),
        "mean": mean,
        "std": std,
    }
    quantiles = [name for name in episodes[0] if name[:1] == "q" and all(name in episode for episode in episodes)]
    found |= {name: weighted(name) for name in quantiles}
    return {name: values.tolist() for name, values in found.items()} | {"count": [int(counts_E.sum())]}
