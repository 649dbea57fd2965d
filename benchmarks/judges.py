"""What discriminators and the engine's own scores think of machine labels whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivm_model.metrics.mask_scores import auc
from storage.pixels.overlap import RIGHT_IOU, is_right

BINS = 20
COLOURS = {"right": "#0072b2", "wrong": "#d55e00"}
JUDGES = {"D": "d", "verification": "verification", "quality": "quality"}
Judged = Mapping[str, Sequence[Any]]
"""As `benchmarks.arms.judge` gives it."""


def draw(path: Path, judged: Mapping[str, Judged]) -> None:
    """A histogram of D under each title, of right and of wrong machine labels; each sums to 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8 * len(judged) + 0.6, 3), layout="constrained")
    panels = figure.subplots(1, len(judged), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, each) in zip(panels, judged.items(), strict=True):
        d_N = np.array(each["d"])
        for name, chosen_N in (("right", right(each)), ("wrong", wrong(each))):
            share_B = np.histogram(d_N[chosen_N], BINS, (0, 1))[0] / max(chosen_N.sum(), 1)
            edges_B = np.linspace(0, 1, BINS + 1)
            label = f"{name} ({chosen_N.sum()})"
            axes.stairs(share_B, edges_B, color=COLOURS[name], label=label, fill=True, alpha=0.35)
            axes.stairs(share_B, edges_B, color=COLOURS[name], linewidth=1.5)
        axes.set(xlabel="D, P(the mask is human)", title=title, xlim=(0, 1), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.axes[0].set_ylabel("share of the labels")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def judge_auc(judged: Judged, judge: str, among_N: np.ndarray | None = None) -> float:
    """AUC of right against wrong labels, or against those wrong ones alone that are `among_N`."""
    score_N, wrong_N = np.array(judged[JUDGES[judge]], float), wrong(judged)
    return auc(score_N[right(judged)], score_N[wrong_N if among_N is None else wrong_N & among_N])


def group_auc(judged: Judged, judge: str, group_N: np.ndarray) -> float:
    """AUC of right against wrong labels within a group."""
    score_N = np.array(judged[JUDGES[judge]], float)
    return auc(score_N[right(judged) & group_N], score_N[wrong(judged) & group_N])


def right(judged: Judged) -> np.ndarray:
    return is_right(np.array(judged["truth_iou"], float))


def wrong(judged: Judged) -> np.ndarray:
    return np.array(judged["truth_iou"], float) < RIGHT_IOU
