"""docs/noise.md and its picture, from what benchmarks.noise has written down."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import arms, judges
from benchmarks.noise_labels import MIXTURE, NoiseConfig, cases, wrong_rows
from benchmarks.weighting_experiment import ARMS, ArmSummary
from storage.common.markdown import markdown_table
from storage.pixels.overlap import RIGHT_IOU

PICTURE = "noise-d.png"
AUDITS = ("right_wrong_auc", "good_bad_auc", "leakage_auc", "shuffled_win", "calibration_error")
WITHOUT_MACHINE = ("human_only",)
"""Arms that see no machine label, so that their training is the same at every noise level: it is done at the first."""
BASELINES = ("verification", "verification_ratio", "quality")
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

    @property
    def title(self) -> str:
        """Its column or panel."""
        return f"{self.labels.noise:.0%} wrong"


def write_page(page: Path, found: Sequence[Found], options: argparse.Namespace) -> None:
    """Write the page, and the picture into `images` beside it."""
    names = list(options.arms)
    comparisons = [arms.comparison(each.seeds, names) for each in found]
    judges.draw(page.parent / "images" / PICTURE, {each.title: each.judged for each in found})
    sections = [
        _head(found, options),
        "## gIoU",
        "Mean over seeds ± standard deviation over seeds. The differences below are paired by row and seed, with a "
        "95 % bootstrap interval over both; bold where the interval leaves out 0. Nothing is corrected for the number "
        "of comparisons.",
        _by_level(found, [each.summary(names[0]) for each in comparisons], arms.score),
    ]
    for baseline in [arm for arm in ("uniform", *BASELINES) if arm in names]:
        sections += [
            f"## Gain over `{baseline}`",
            _by_level(found, [each.summary(baseline) for each in comparisons], arms.gain),
        ]
    sections += _judges(found)
    page.write_text("\n\n".join(sections) + "\n")


def _by_level(
    found: Sequence[Found], summaries: Sequence[Sequence[ArmSummary]], cell: Callable[[ArmSummary], str]
) -> str:
    """An arm a line, a noise level a column."""
    head = ("arm", *(each.title for each in found))
    return markdown_table(head, [(lines[0].arm, *map(cell, lines)) for lines in zip(*summaries, strict=True)])


def _judges(found: Sequence[Found]) -> list[str]:
    audits = [
        (f"{each.labels.noise:.0%}", *(float(np.mean([seed["audit"][name] for seed in each.seeds])) for name in AUDITS))
        for each in found
    ]
    scores = [
        (f"{each.labels.noise:.0%}", judge, *_aucs(each.judged, judge)) for each in found for judge in judges.JUDGES
    ]
    return [
        "## Right against wrong labels, by score",
        "AUC of each score between right and wrong machine labels: all wrong ones, then those that are wrong in one "
        "way. D is that of the first seed; `quality` is calibrated on the human rows.",
        markdown_table(("wrong", "score", "all", *MIXTURE), scores),
        f"![D of right and wrong machine labels](images/{PICTURE})",
        "## Audits of the discriminators",
        "As in every training; means over seeds.",
        markdown_table(("wrong", *AUDITS), audits),
    ]


def _aucs(judged: judges.Judged, judge: str) -> list[float]:
    way_N = np.array(judged["way"])
    return [judges.judge_auc(judged, judge), *(judges.judge_auc(judged, judge, way_N == way) for way in MIXTURE)]


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
        "What is each weighting worth when the share of wrong machine labels is known?\n\n"
        f"Written by `python -m benchmarks.noise {command} --seeds {options.seeds} --steps {options.steps}` on "
        f"{os.cpu_count()} CPU cores: {seconds / runs:.0f} s an arm and seed, with `--processes "
        f"{options.processes}` and stage I shared by the arms of a seed; {seconds / 3600:.1f} process hours.\n\n"
        f"- **Rows.** {options.human} human and {options.rows} machine labels of new scenes of the procedural world, "
        f"every instruction with a target. {options.tests} exact test rows are of other scenes.\n"
        "- **Noise.** A machine label is the exact mask or, for the share in the head of a column, a mask with an IoU "
        f"under {RIGHT_IOU} with it: {_mixture(options)}. What is wrong at one share is wrong in the same way at every "
        "higher one.\n"
        "- **Scores.** The embedded LMM verified each mask as it is. The human rows, whose machine labels are wrong as "
        "often, calibrated the quality.\n"
        f"- **Training.** Every arm takes {options.steps} steps. What sees no machine label is trained once for all "
        "shares."
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
