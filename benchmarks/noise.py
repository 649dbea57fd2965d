"""Reproduce docs/noise.md: every weighting at equal compute, over known shares of wrong machine labels.

    python -m benchmarks.noise --noise 0.2 0.4 0.6 0.8 --seeds 5

A seed of a noise level is written down as soon as its arms are trained; a run that was stopped goes on from there.
The page is written from what was written down, so the same command with fewer seeds writes it before the end.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import arms
from benchmarks.noise_labels import NoiseConfig
from benchmarks.noise_levels import Level
from benchmarks.noise_page import WITHOUT_MACHINE, Found, write_page
from benchmarks.weighting_experiment import ARMS

PAGE = Path(__file__).parents[1] / "docs" / "noise.md"


def main() -> None:
    """Make the labels, judge them, train what is missing, write the page."""
    options = _options()
    levels = [_level(noise, options) for noise in options.noise]
    arms.in_processes([level.label for level in levels], options.processes)
    work = [level.judge for level in levels]
    work += [
        partial(level.train, seed, [arm for arm in options.arms if level is levels[0] or arm not in WITHOUT_MACHINE])
        for seed in range(options.seeds)
        for level in levels
    ]
    arms.in_processes(work, options.processes)
    found = [
        Found(
            level.labels,
            seeds=[_of_all_levels(levels[0], level, seed) for seed in range(options.seeds)],
            judged=arms.read(level.result("judged")),
        )
        for level in levels
    ]
    write_page(options.page, found, options)
    print(options.page.read_text())


def _of_all_levels(first: Level, level: Level, seed: int) -> dict[str, Any]:
    """What is written down of a seed, with the arms that only the first level trained."""
    found, shared = (arms.read(each.result(f"seed-{seed}")) for each in (level, first))
    return found | {
        "arms": {arm: shared["arms"][arm] for arm in WITHOUT_MACHINE if arm in shared["arms"]} | found["arms"]
    }


def _level(noise: float, options: argparse.Namespace) -> Level:
    labels = NoiseConfig(noise, options.human, options.rows, options.tests)
    return Level(labels, options.steps, options.work / f"{noise:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8], help="shares of wrong labels")
    parser.add_argument("--human", type=int, default=300, help="rows with a human mask")
    parser.add_argument("--rows", type=int, default=1200, help="rows with a machine label only")
    parser.add_argument("--tests", type=int, default=500, help="rows that score, on other scenes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="of every arm")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/noise"), help="folder for labels and results")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
