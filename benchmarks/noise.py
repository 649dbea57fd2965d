"""Reproduce docs/noise.md: every weighting at equal compute, over known shares of wrong machine labels.

    python -m benchmarks.noise --noise 0.2 0.4 0.6 0.8 --seeds 5

A seed of a noise level is written down as soon as its arms are trained; a run that was stopped goes on from there.
The page is written from what was written down, so the same command with fewer seeds writes it before the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import arms
from benchmarks.noise_labels import TEST_SOURCE, NoiseConfig, cases, write_labels
from benchmarks.noise_page import WITHOUT_MACHINE, Found, write_page
from benchmarks.weighting_experiment import ARMS, ComparisonData, prepare
from ivm_data.recipes.training_recipes import train_config
from ivm_model.data.training_rows import RowsConfig
from ivm_model.train.trainer import TrainConfig
from storage.records import Status

PAGE = Path(__file__).parents[1] / "docs" / "noise.md"


@dataclass(frozen=True)
class Level:
    """One noise level: its labels, its training, and where its results are written down."""

    labels: NoiseConfig
    steps: int
    folder: Path

    @property
    def config(self) -> TrainConfig:
        """Every label trains, also those that the gate would throw away."""
        rows = RowsConfig(self.labels.recipe, tuple(Status), (TEST_SOURCE,), test_share=0.0)
        config = train_config(self.folder / "data", self.folder / "unused", {"generator.steps": self.steps})
        return replace(config, rows=rows)

    def result(self, name: str) -> Path:
        """Where a result is written down."""
        return self.folder / f"{self.labels.recipe}-{self.steps}-{name}.json"


def main() -> None:
    """Make the labels, judge them, train what is missing, write the page."""
    options = _options()
    levels = [_level(noise, options) for noise in options.noise]
    arms.in_processes([partial(_label, level) for level in levels], options.processes)
    work = [partial(_judge, level) for level in levels]
    work += [
        partial(_train, level, seed, [arm for arm in options.arms if level is levels[0] or arm not in WITHOUT_MACHINE])
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


def _label(level: Level) -> None:
    began = time.perf_counter()
    write_labels(level.folder / "data", level.labels)
    _log(level, "labels", began)


def _judge(level: Level) -> None:
    """Write down what is thought of each machine label, and how it is wrong."""
    path = level.result("judged")
    if path.exists():
        return
    began = time.perf_counter()
    judged = arms.judge(_prepared(level))
    way = {case.draft.sample.id: case.way for case in cases("machine", level.labels.machine)}
    ways = [way[row.sample_id] for row in _prepared(level).machine]
    arms.write(path, judged | {"way": ways})
    _log(level, "judged", began)


@cache
def _prepared(level: Level) -> ComparisonData:
    """A process that trains several seeds of a level encodes its rows once."""
    return prepare(level.config)


def _train(level: Level, seed: int, names: Sequence[str]) -> None:
    began = time.perf_counter()
    trained = arms.train(level.result(f"seed-{seed}"), partial(_prepared, level), seed, names)
    if trained:
        _log(level, f"seed {seed}, {len(trained)} arms", began)


def _log(level: Level, what: str, began: float) -> None:
    print(f"noise {level.labels.noise:.0%}, {what}: {time.perf_counter() - began:.0f} s", flush=True)


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
