"""Weightings: what the discriminator (or another judge) thinks of a machine label -> how much it counts in stage II.

Human labels do not pass through here: they always weigh 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from storage.errors import ConfigError


@dataclass(frozen=True)
class Evidence:
    """What is known of N machine labels.

    Attributes:
        d_N: P(human) from a fold that did not train on the label, in (0, 1); None before stage I.
        verification_N: the engine's verification score in [0, 1]; NaN where it was not asked.
        quality_N: the engine's calibrated quality in [0, 1].
        accepted_N: 1 where the engine's gate accepted the label or its absence, else 0.
        truth_iou_N: IoU with the held-out truth; NaN where there is none. For experiments only.
        count: N.
    """

    count: int
    d_N: np.ndarray | None = None
    verification_N: np.ndarray | None = None
    quality_N: np.ndarray | None = None
    accepted_N: np.ndarray | None = None
    truth_iou_N: np.ndarray | None = None


Weighting = Callable[[Evidence], np.ndarray]


def uniform(evidence: Evidence) -> np.ndarray:
    """1 for every label: plain training on human + machine labels."""
    return np.ones(evidence.count, np.float32)


def human_only(evidence: Evidence) -> np.ndarray:
    """0 for every label: training on the human labels alone."""
    return np.zeros(evidence.count, np.float32)


def clip_sigmoid(evidence: Evidence) -> np.ndarray:
    """clip(sigmoid(D), 0.1, 0.9) with D the discriminator's logit (IVM, arXiv 2405.19783)."""
    return np.clip(_need(evidence, "d_N"), 0.1, 0.9).astype(np.float32)


def dwbc_ratio(evidence: Evidence) -> np.ndarray:
    """d / (1 - d), d clipped to [0.1, 0.9] and 0 below 0.5 (DWBC, arXiv 2207.10050), then divided by its mean.

    With balanced batches d / (1 - d) estimates the density ratio human / machine, whose mean over machine labels is 1:
    the division restores that, so that the average machine label weighs as much as a human one.
    """
    d_N = np.clip(_need(evidence, "d_N"), 0.1, 0.9)
    ratio_N = np.where(d_N >= 0.5, d_N / (1 - d_N), 0.0)
    mean = ratio_N.mean()
    return (ratio_N / mean if mean > 0 else ratio_N).astype(np.float32)


def verification(evidence: Evidence) -> np.ndarray:
    """clip(verification score, 0.1, 0.9): the control that shows what D adds to the engine's own score."""
    return np.clip(_need(evidence, "verification_N"), 0.1, 0.9).astype(np.float32)


def quality(evidence: Evidence) -> np.ndarray:
    """clip(calibrated quality, 0.1, 0.9): the strongest control, all of the engine's scores in one."""
    return np.clip(_need(evidence, "quality_N"), 0.1, 0.9).astype(np.float32)


def gate(evidence: Evidence) -> np.ndarray:
    """1 where the engine's gate accepted the label, else 0: training on what the engine alone would hand over."""
    return _need(evidence, "accepted_N").astype(np.float32)


def oracle(evidence: Evidence) -> np.ndarray:
    """1 where the label overlaps the truth with IoU >= 0.5, else 0: what a perfect discriminator could give."""
    return (_need(evidence, "truth_iou_N") >= 0.5).astype(np.float32)


WEIGHTINGS: dict[str, Weighting] = {
    each.__name__: each for each in (uniform, human_only, clip_sigmoid, dwbc_ratio, verification, quality, gate, oracle)
}
"""Every weighting by name."""
NEEDS_DISCRIMINATOR = frozenset({"clip_sigmoid", "dwbc_ratio"})


def get_weighting(name: str) -> Weighting:
    """Look a weighting up.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in WEIGHTINGS:
        raise ConfigError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {name!r}")
    return WEIGHTINGS[name]


def _need(evidence: Evidence, field: str) -> np.ndarray:
    value_N = getattr(evidence, field)
    missing = evidence.count if value_N is None else int(np.isnan(value_N).sum())
    if missing:
        raise ConfigError(
            f"this weighting needs {field.removesuffix('_N')!r} for every machine label, {missing} of {evidence.count} "
            "lack it; choose another weighting, or label with the expert that gives it"
        )
    return value_N
