"""Weightings: what the discriminator (or another judge) thinks of a machine label -> how much it counts in stage II.

Human labels do not pass through here: they always weigh 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from storage.common.plugins import Registry
from storage.errors import ConfigError
from storage.pixels.overlap import is_right


@dataclass(frozen=True)
class Signals:
    """What is known of N machine labels; None and NaN stand for "not asked".

    Attributes:
        d_N: P(human) from a fold that did not train on the label, in (0, 1).
        d_loss: the loss that D was trained with, "bce", "pu" or "nnpu".
        verification_N: the engine's verification score in [0, 1]; NaN where it was not asked.
        quality_N: the engine's calibrated quality in [0, 1].
        accepted_N: 1 where the engine's gate accepted the label or its absence, else 0.
        measured_iou_N: IoU with what a generator answers that learned from all labels alike for a while.
        peer_loss_N: CE + Dice under a generator that learned from the other half of the machine labels.
        peer_fold_N: the half that the label is in, 0 or 1.
        noise: share of wrong labels among the engine's labels of human rows, in [0, 1].
        truth_iou_N: IoU with the held-out truth. For experiments only.
        empty_N: bool, which labels say "no target"; they are weighed against each other, since what is known of them
            is of another kind than what is known of a mask. Unset, none does.
        count: N.
    """

    count: int
    d_N: np.ndarray | None = None
    d_loss: str = ""
    verification_N: np.ndarray | None = None
    quality_N: np.ndarray | None = None
    accepted_N: np.ndarray | None = None
    measured_iou_N: np.ndarray | None = None
    peer_loss_N: np.ndarray | None = None
    peer_fold_N: np.ndarray | None = None
    noise: float = float("nan")
    truth_iou_N: np.ndarray | None = None
    empty_N: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        if not len(self.empty_N):
            object.__setattr__(self, "empty_N", np.zeros(self.count, bool))


Weighting = Callable[[Signals], np.ndarray]
FIXED = 0.2
SELF_PACED_IOU = 0.5


def uniform(signals: Signals) -> np.ndarray:
    """1 for every label: plain training on human + machine labels."""
    return np.ones(signals.count, np.float32)


def human_only(signals: Signals) -> np.ndarray:
    """0 for every label: training on the human labels alone."""
    return np.zeros(signals.count, np.float32)


def fixed(signals: Signals) -> np.ndarray:
    """0.2 for every label: machine labels count less than human ones, all alike (a control of the IVM trials)."""
    return np.full(signals.count, FIXED, np.float32)


def clip_sigmoid(signals: Signals) -> np.ndarray:
    """clip(sigmoid(D), 0.1, 0.9) with D the discriminator's logit (IVM, arXiv 2405.19783)."""
    return _clipped(_need(signals, "d_N"))


def dwbc_ratio(signals: Signals) -> np.ndarray:
    """d / (1 - d), d clipped to [0.1, 0.9] and 0 below 0.5 (DWBC, arXiv 2207.10050), then divided by its mean.

    With balanced batches d / (1 - d) estimates the density ratio human / machine, whose mean over machine labels is 1:
    the division restores that, so that the average machine label weighs as much as a human one. Masks and statements
    that there is no target each have a head of D and batches of their own, so each are divided by their own mean.
    """
    return _ratio(_need(signals, "d_N"), signals.empty_N)


def nnpu(signals: Signals) -> np.ndarray:
    """sigmoid(D) as it is, of a D trained with the non-negative PU risk (nnPU, arXiv 1703.00593).

    That risk takes machine labels for a mixture of good and bad ones, so that D estimates P(good) of a machine label,
    not P(human); a posterior needs no clipping. Deliberately wrong masks in stage I would count as more bad labels.
    """
    if signals.d_loss != "nnpu":
        raise ConfigError(
            f"weighting 'nnpu' needs discriminator.loss nnpu, got {signals.d_loss or 'no discriminator'!r}"
        )
    return _need(signals, "d_N").astype(np.float32)


def self_paced(signals: Signals) -> np.ndarray:
    """1 where r > h, else 0, with r the IoU of a measurer's answer and the label (CLIP-VG, arXiv 2305.08685, sec. III).

    The measurer is the generator after its uniform warm-up, and h is fixed; CLIP-VG searches h over several rounds.
    Its labels all have a box. A statement that there is no target overlaps nothing and r says nothing of it: it weighs
    1.
    """
    reliable_N: np.ndarray = (_need(signals, "measured_iou_N") > SELF_PACED_IOU) | signals.empty_N
    return reliable_N.astype(np.float32)


def co_teaching(signals: Signals) -> np.ndarray:
    """1 for the share 1 - noise of smallest loss under the peer, else 0 (Co-teaching, arXiv 1804.06872, algorithm 1).

    Co-teaching exchanges small-loss rows between two networks in every batch; here each of two generators, trained on
    one half of the machine labels, chooses once from the other half, and the one that goes on learns from both choices.
    Losses of masks and of statements that there is no target are of different size; each are ranked by themselves.
    """
    loss_N, fold_N = _need(signals, "peer_loss_N"), _need(signals, "peer_fold_N")
    if np.isnan(signals.noise):
        raise ConfigError("'co_teaching' needs the engine's labels of some human rows, to know how many are wrong")
    weight_N = np.zeros(signals.count, np.float32)
    for fold, empty in product(np.unique(fold_N), (False, True)):
        mine = np.flatnonzero((fold_N == fold) & (signals.empty_N == empty))
        kept = round((1 - signals.noise) * len(mine))
        weight_N[mine[np.argsort(loss_N[mine], kind="stable")[:kept]]] = 1
    return weight_N


def verification(signals: Signals) -> np.ndarray:
    """clip(verification score, 0.1, 0.9): the control that shows what D adds to the engine's own score."""
    return _clipped(_need(signals, "verification_N"))


def verification_ratio(signals: Signals) -> np.ndarray:
    """`dwbc_ratio` with the verification score in D's place: the control that tells D from the form of the ratio."""
    return _ratio(_need(signals, "verification_N"), signals.empty_N)


def quality(signals: Signals) -> np.ndarray:
    """clip(calibrated quality, 0.1, 0.9): the strongest control, all of the engine's scores in one."""
    return _clipped(_need(signals, "quality_N"))


def gate(signals: Signals) -> np.ndarray:
    """1 where the engine's gate accepted the label, else 0: training on what the engine alone would hand over."""
    return _need(signals, "accepted_N").astype(np.float32)


def oracle(signals: Signals) -> np.ndarray:
    """1 where the label overlaps the truth as `is_right` asks, else 0: what a perfect discriminator could give."""
    right_N: np.ndarray = is_right(_need(signals, "truth_iou_N"))
    return right_N.astype(np.float32)


WEIGHTINGS: dict[str, Weighting] = {
    each.__name__: each
    for each in (
        uniform,
        human_only,
        fixed,
        clip_sigmoid,
        dwbc_ratio,
        nnpu,
        self_paced,
        co_teaching,
        verification,
        verification_ratio,
        quality,
        gate,
        oracle,
    )
}
"""Built-in weightings by name."""
_OTHERS = Registry("weighting", "ivm.weightings", {})
"""Weightings of other packages: of what the engine's own scores say, since no discriminator is trained for them."""
NEEDS_DISCRIMINATOR = frozenset({"clip_sigmoid", "dwbc_ratio", "nnpu"})
NEEDS_MEASURER, NEEDS_CO_TEACHING = frozenset({"self_paced"}), frozenset({"co_teaching"})
NEEDS_GENERATORS = NEEDS_MEASURER | NEEDS_CO_TEACHING
NEEDS_WARMUP = NEEDS_DISCRIMINATOR | NEEDS_GENERATORS
"""Weightings that need a generator which has learned for a while."""


def check_loss(weighting: str, loss: str) -> None:
    """Refuse, before anything is trained, a weighting whose discriminator learns with another loss.

    Raises:
        ConfigError: with the loss that it needs.
    """
    if weighting == "nnpu" and loss != "nnpu":
        raise ConfigError(f"weighting 'nnpu' needs discriminator.loss nnpu, got {loss!r}; set both")


def get_weighting(name: str) -> Weighting:
    """Look a weighting up.

    Raises:
        ConfigError: there is none of that name.
    """
    if name in WEIGHTINGS:
        return WEIGHTINGS[name]
    if name not in (others := _OTHERS.names()):
        raise ConfigError(f"weighting must be one of {', '.join([*WEIGHTINGS, *others])}, got {name!r}")
    weighting: Weighting = _OTHERS.get(name)
    return weighting


def _ratio(score_N: np.ndarray, empty_N: np.ndarray) -> np.ndarray:
    """s / (1 - s) with s clipped to [0.1, 0.9], 0 below 0.5, divided by its mean over masks and over the others."""
    score_N = np.clip(score_N, 0.1, 0.9)
    ratio_N = np.where(score_N >= 0.5, score_N / (1 - score_N), 0.0)
    for group_N in (empty_N, ~empty_N):
        if ratio_N[group_N].any():
            ratio_N[group_N] /= ratio_N[group_N].mean()
    return ratio_N.astype(np.float32)


def _clipped(score_N: np.ndarray) -> np.ndarray:
    weight_N: np.ndarray = np.clip(score_N, 0.1, 0.9)
    return weight_N.astype(np.float32)


def _need(signals: Signals, field: str) -> np.ndarray:
    value_N: np.ndarray | None = getattr(signals, field)
    missing = signals.count if value_N is None else int(np.isnan(value_N).sum())
    if value_N is None or missing:
        raise ConfigError(
            f"this weighting needs {field.removesuffix('_N')!r} for every machine label, {missing} of {signals.count} "
            "lack it; choose another weighting, or label with the expert that gives it"
        )
    return value_N
