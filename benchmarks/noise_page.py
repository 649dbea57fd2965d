"""docs/noise.md and its picture, from what benchmarks.noise has written down."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.noise_labels import MIXTURE, NoiseConfig, cases, wrong_rows
from benchmarks.results import markdown
from ivm_model.audit import RIGHT_IOU
from ivm_model.evaluation import Evaluation
from ivm_model.experiment import ARMS, ArmSummary, Comparison, Run
from ivm_model.metrics import MaskScores, auc

PICTURE = "noise-d.png"
BINS = 20
COLOURS = {"right": "#0072b2", "wrong": "#d55e00"}
JUDGES = {"D": "d", "verification": "verification", "quality": "quality"}
AUDITS = ("right_wrong_auc", "good_bad_auc", "leakage_auc", "shuffled_win", "calibration_error")
WITHOUT_MACHINE = ("human_only",)
"""Arms that see no machine label, so that their training is the same at every noise level: it is done at the first."""
BASELINES = ("verification", "quality")
"""Weights that the engine has without any discriminator."""


@dataclass(frozen=True)
class Found:
    """What was written down for one noise level.

    Attributes:
        seeds: of each seed {"arms": {arm: Evaluation}, "audit": Audit, "seconds"}, as plain values.
        judged: of one seed, D and the other judges' scores of each machine label, its truth and its way of being wrong.
    """

    labels: NoiseConfig
    seeds: Sequence[dict[str, Any]]
    judged: dict[str, Sequence[Any]]

    def comparison(self, arms: Sequence[str]) -> Comparison:
        """The runs as `ivm_model.experiment.compare` gave them."""
        return Comparison(
            tuple(
                Run(arm, seed, _evaluation(found["arms"][arm])) for seed, found in enumerate(self.seeds) for arm in arms
            ),
            audits=(),
        )


def write_page(page: Path, found: Sequence[Found], options: argparse.Namespace) -> None:
    """Write the page, and the picture into `images` beside it."""
    arms = list(options.arms)
    comparisons = [each.comparison(arms) for each in found]
    draw_opinions(page.parent / "images" / PICTURE, found)
    sections = [
        _head(found, options),
        "## gIoU",
        "Mean over seeds ± standard deviation over seeds. Below, differences of it are paired by row and seed, with a "
        "95 % bootstrap interval over both; bold where the interval leaves out 0. Nothing is corrected for the number "
        "of comparisons.",
        _by_level(found, [each.summary(arms[0]) for each in comparisons], _score),
    ]
    for baseline in [arm for arm in ("uniform", *BASELINES) if arm in arms]:
        sections += [
            f"## Gain over `{baseline}`",
            _by_level(found, [each.summary(baseline) for each in comparisons], _gain),
        ]
    sections += _judges(found)
    page.write_text("\n\n".join(sections) + "\n")


def draw_opinions(path: Path, found: Sequence[Found]) -> None:
    """A histogram of D for each noise level, of right and of wrong machine labels; each sums to 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8 * len(found) + 0.6, 3), layout="constrained")
    for axes, each in zip(
        figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0], found, strict=True
    ):
        right_N, d_N = _right(each), np.array(each.judged["d"])
        for name, chosen_N in (("right", right_N), ("wrong", ~right_N)):
            share_B = np.histogram(d_N[chosen_N], BINS, (0, 1))[0] / max(chosen_N.sum(), 1)
            edges_B = np.linspace(0, 1, BINS + 1)
            label = f"{name} ({chosen_N.sum()})"
            axes.stairs(share_B, edges_B, color=COLOURS[name], label=label, fill=True, alpha=0.35)
            axes.stairs(share_B, edges_B, color=COLOURS[name], linewidth=1.5)
        axes.set(xlabel="D, P(the mask is human)", title=f"{each.labels.noise:.0%} wrong", xlim=(0, 1), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.axes[0].set_ylabel("share of the labels")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _by_level(
    found: Sequence[Found], summaries: Sequence[Sequence[ArmSummary]], cell: Callable[[ArmSummary], str]
) -> str:
    """An arm a line, a noise level a column."""
    head = ("arm", *(f"{each.labels.noise:.0%} wrong" for each in found))
    return markdown(head, [(lines[0].arm, *map(cell, lines)) for lines in zip(*summaries, strict=True)])


def _score(line: ArmSummary) -> str:
    return f"{line.giou:.3f}" + ("" if math.isnan(line.giou_std) else f" ± {line.giou_std:.3f}")


def _gain(line: ArmSummary) -> str:
    text = f"{line.gain:+.3f} [{line.gain_low:+.3f}, {line.gain_high:+.3f}]"
    return f"**{text}**" if line.gain_low > 0 or line.gain_high < 0 else text


def _judges(found: Sequence[Found]) -> list[str]:
    audits = [
        (f"{each.labels.noise:.0%}", *(float(np.mean([seed["audit"][name] for seed in each.seeds])) for name in AUDITS))
        for each in found
    ]
    scores = [
        (f"{each.labels.noise:.0%}", judge, *_aucs(each, np.array(each.judged[field], float)))
        for each in found
        for judge, field in JUDGES.items()
    ]
    return [
        "## Who tells right from wrong",
        "AUC of right against wrong machine labels, and against those alone that are wrong in one way. D is that of "
        "the first seed; `quality` is calibrated on the human rows.",
        markdown(("wrong", "judge", "all", *MIXTURE), scores),
        f"![D of right and wrong machine labels](images/{PICTURE})",
        "The discriminators, audited as in every training; means over seeds.",
        markdown(("wrong", *AUDITS), audits),
    ]


def _aucs(found: Found, score_N: np.ndarray) -> list[float]:
    right_N, way_N = _right(found), np.array(found.judged["way"])
    wrong = [~right_N, *(~right_N & (way_N == way) for way in MIXTURE)]
    return [auc(score_N[right_N], score_N[each_N]) for each_N in wrong]


def _right(found: Found) -> np.ndarray:
    return np.array(found.judged["truth_iou"]) >= RIGHT_IOU


def _evaluation(values: dict[str, Any]) -> Evaluation:
    kinds, difficulties = (
        {name: MaskScores(**scores) for name, scores in values[group].items()} for group in ("by_kind", "by_difficulty")
    )
    return Evaluation(MaskScores(**values["overall"]), kinds, difficulties, tuple(values["iou_N"]))


def _head(found: Sequence[Found], options: argparse.Namespace) -> str:
    noise = " ".join(f"{each.labels.noise:g}" for each in found)
    command = f"--noise {noise} --human {options.human} --rows {options.rows} --tests {options.tests}"
    if options.arms != list(ARMS):
        command += f" --arms {' '.join(options.arms)}"
    shared = sum(arm in WITHOUT_MACHINE for arm in options.arms)
    runs = options.seeds * (len(found) * len(options.arms) - (len(found) - 1) * shared)
    seconds = sum(seed["seconds"] for each in found for seed in each.seeds)
    return (
        "# Known noise\n\n"
        f"Written by `python -m benchmarks.noise {command} --seeds {options.seeds} --steps {options.steps}` on "
        f"{os.cpu_count()} CPU cores: {seconds / runs:.0f} s an arm and seed, with `--processes "
        f"{options.processes}` and stage I shared by the arms of a seed; {seconds / 3600:.1f} process hours.\n\n"
        f"{options.human} human and {options.rows} machine labels of new scenes of the procedural world, every "
        "instruction with a target. A machine label is the exact mask or, for the share that the columns tell, a mask "
        f"with an IoU under {RIGHT_IOU} with it: {_mixture(options)}. What is wrong at one share is wrong in the same "
        "way at every higher one. The embedded LMM verified each mask as it is, and the human rows, whose machine "
        f"labels are wrong as often, calibrated the quality. {options.tests} exact test rows are of other scenes. "
        f"Every arm takes {options.steps} steps. What sees no machine label is trained once for all shares."
    )


def _mixture(options: argparse.Namespace) -> str:
    """The ways of all that is wrong at the highest share, as they came out."""
    names = {
        "elsewhere": "another object",
        "extra": "an object too many",
        "shifted": "shifted",
        "cut": "a part missing",
    }
    made = cases("machine", options.rows)
    wrong_N = wrong_rows(options.rows, max(options.noise))
    ways = [case.way for case, wrong in zip(made, wrong_N, strict=True) if wrong]
    return ", ".join(f"{names[way]} {ways.count(way) / len(ways):.0%}" for way in MIXTURE)
