"""Reproduce docs/when-dwsl-pays.md: what weighting is worth by share and kind of noise, and by number of human labels.

    python -m benchmarks.dwsl_pays --seeds 5

One thing differs from the middle at a time. A seed of a case is written down as soon as its arms are trained; a run
that was stopped goes on from there, and `--only` names cases to do first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np

from benchmarks import arms, judges
from benchmarks.noise_labels import MIXTURES, NoiseConfig
from benchmarks.noise_levels import Level
from benchmarks.weighting_experiment import ArmSummary
from ivm_model.metrics.bootstrap import CONFIDENCE
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "when-dwsl-pays.md"
MIDDLE = NoiseConfig(noise=0.6, human=300, machine=1000, tests=400, mixture="engine")
NAMES = {
    "elsewhere": "another object",
    "extra": "an object too many",
    "shifted": "shifted",
    "cut": "a part missing",
    "absent": "said to be absent",
}
CASES: dict[str, NoiseConfig] = {
    "middle": MIDDLE,
    **{f"{share:.0%} wrong": replace(MIDDLE, noise=share) for share in (0.2, 0.4, 0.8)},
    **{f"{human} human": replace(MIDDLE, human=human) for human in (30, 100, 1000)},
    **{NAMES[way]: replace(MIDDLE, mixture=way) for way in NAMES},
}
"""What is known of each case; the middle has 60 % wrong, of the engine's kinds, and 300 human labels."""
ARMS = (
    *("uniform", "human_only", "clip_sigmoid", "dwbc_ratio", "self_paced", "co_teaching"),
    *("verification", "verification_ratio", "quality", "gate", "oracle"),
)
Summaries = Mapping[str, Sequence[ArmSummary]]
"""Of each case, a line for each arm."""
WITHOUT_MACHINE, BASELINE, ORACLE = "human_only", "uniform", "oracle"


def main() -> None:
    """Make the labels, train what is missing, write the page from the cases that are done."""
    options = _options()
    levels = {name: Level(CASES[name], options.steps, options.work / name.replace(" ", "-")) for name in options.only}
    arms.in_processes([level.label for level in levels.values()], options.processes)
    work = [partial(level.train, seed, _arms(level)) for level in levels.values() for seed in range(options.seeds)]
    work += [level.judge for level in levels.values()]
    arms.in_processes(work, options.processes)
    options.page.write_text(_page(levels, options) + "\n")
    print(options.page.read_text())


def _arms(level: Level) -> tuple[str, ...]:
    """What sees no machine label is the same whatever is wrong with these: it is trained in the middle alone."""
    other = replace(level.labels, human=MIDDLE.human) != MIDDLE
    return tuple(arm for arm in ARMS if arm != WITHOUT_MACHINE or not other)


def corrected(line: ArmSummary, comparisons: int) -> tuple[float, float]:
    """Bonferroni's interval of a gain, as wide as the bootstrap's where it is normal."""
    spread = (line.gain_high - line.gain_low) / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))
    far = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / comparisons / 2) * spread
    return line.gain - far, line.gain + far


def _page(levels: Mapping[str, Level], options: argparse.Namespace) -> str:
    seeds = {
        name: [arms.read(level.result(f"seed-{seed}")) for seed in range(options.seeds)]
        for name, level in levels.items()
    }
    summaries = {name: arms.comparison(found, _arms(levels[name])).summary(BASELINE) for name, found in seeds.items()}
    hours = sum(seed["seconds"] for found in seeds.values() for seed in found) / 3600
    judged = {name: arms.read(level.result("judged")) for name, level in levels.items()}
    only = "" if list(levels) == list(CASES) else " --only " + " ".join(f'"{name}"' for name in levels)
    return "\n\n".join(
        [
            "# When does DWSL pay?",
            "What a weighting is worth to the masking model, by share and kind of wrong machine labels, and by number "
            "of human labels.",
            f"Written by `python -m benchmarks.dwsl_pays --seeds {options.seeds} --steps {options.steps}{only}` on "
            f"{os.cpu_count()} CPU cores, {hours:.1f} process hours.",
            _protocol(options),
            "## gIoU",
            _table(summaries, lambda summary: {line.arm: arms.score(line) for line in summary}),
            f"## Gain over `{BASELINE}`",
            f"Intervals are corrected for all {_count(summaries)} comparisons of the table (Bonferroni); bold where "
            "one leaves out 0.",
            _gains(summaries),
            f"## Share of the gain of `{ORACLE}`",
            f"Where `{ORACLE}`, which leaves out what is wrong, gains at least 0.01.",
            _shares(summaries),
            "## Right against wrong labels",
            "AUC of each score between right and wrong machine labels: those with a mask, and statements that there is "
            "no target. D is that of the first seed.",
            _aucs(judged),
        ]
    )


def _protocol(options: argparse.Namespace) -> str:
    engine = ", ".join(f"{NAMES[way]} {share:.0%}" for way, share in MIXTURES["engine"].items())
    return (
        f"- **Middle.** {MIDDLE.human} human and {MIDDLE.machine} machine labels of new scenes of the procedural "
        f"world, {MIDDLE.noise:.0%} of the machine's wrong: {engine}. {MIDDLE.tests} exact test rows of other scenes. "
        "A sixth of the instructions has no target where labels may say so.\n"
        "- **Cases.** One thing differs from the middle: the share of wrong labels, the one way of being wrong, or the "
        "number of human labels. What is wrong at one share is wrong in the same way at every higher one.\n"
        "- **Scores.** The embedded LMM verified each mask, or looked for what is said to be absent. The machine's "
        "labels of the human rows, wrong as often, calibrated the quality.\n"
        f"- **Training.** {options.seeds} seeds, {options.steps} steps in every arm; arms of a seed share warm-up and "
        "stage I. Differences are paired by row and seed."
    )


def _table(summaries: Summaries, cells: Callable[[Sequence[ArmSummary]], Mapping[str, str]]) -> str:
    """An arm a line, a case a column."""
    of_case = {name: cells(each) for name, each in summaries.items()}
    return markdown_table(("arm", *of_case), [(arm, *(cell.get(arm, "") for cell in of_case.values())) for arm in ARMS])


def _gains(summaries: Summaries) -> str:
    count = _count(summaries)

    def cells(summary: Sequence[ArmSummary]) -> dict[str, str]:
        found = {}
        for line in summary:
            low, high = corrected(line, count)
            text = f"{line.gain:+.3f} [{low:+.3f}, {high:+.3f}]"
            found[line.arm] = f"**{text}**" if low > 0 or high < 0 else text
        return found

    return _table(summaries, cells)


def _count(summaries: Summaries) -> int:
    return sum(len(each) - 1 for each in summaries.values())


def _shares(summaries: Summaries) -> str:
    def cells(summary: Sequence[ArmSummary]) -> dict[str, str]:
        gain = {line.arm: line.gain for line in summary}
        known = gain[ORACLE] >= 0.01
        return {arm: f"{gain[arm] / gain[ORACLE]:.0%}" if known else "" for arm in gain}

    return _table(summaries, cells)


def _aucs(judged: Mapping[str, judges.Judged]) -> str:
    rows = []
    for name, each in judged.items():
        empty_N = np.array(each["area"]) == 0
        for score in judges.JUDGES:
            aucs = [judges.group_auc(each, score, group_N) for group_N in (~empty_N, empty_N)]
            rows.append((name, score, *aucs))
    return markdown_table(("case", "score", "masks", "no target"), rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=160, help="of every arm")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/dwsl_pays"), help="folder for labels and results")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
