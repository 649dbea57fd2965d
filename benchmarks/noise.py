"""Reproduce docs/noise.md: every weighting at equal compute, over known shares of wrong machine labels.

    python -m benchmarks.noise --noise 0.2 0.4 0.6 0.8 --seeds 5

A seed of a noise level is written down as soon as its arms are trained; a run that was stopped goes on from there.
The page is written from what was written down, so the same command with fewer seeds writes it before the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.noise_labels import TEST_SOURCE, NoiseConfig, cases, write_labels
from benchmarks.noise_page import WITHOUT_MACHINE, Found, write_page
from ivm_data.training import train_config
from ivm_model.dataset import DataConfig, truth_iou
from ivm_model.experiment import ARMS, Contest, compare, prepare
from ivm_model.generator import GeneratorTrainer
from ivm_model.model import MaskingModel
from ivm_model.stage_one import run_stage_one
from ivm_model.trainer import TrainConfig
from storage import files
from storage.records import Status

PAGE = Path(__file__).parents[1] / "docs" / "noise.md"
JUDGED_SEED = 0
"""The seed whose opinions of single labels are kept."""


@dataclass(frozen=True)
class Level:
    """One noise level: its labels, its training, and where its results are written down."""

    labels: NoiseConfig
    steps: int
    folder: Path

    @property
    def config(self) -> TrainConfig:
        """Every label trains, also those that the gate would throw away."""
        rows = DataConfig(self.labels.recipe, tuple(Status), (TEST_SOURCE,), test_share=0.0)
        config = train_config(self.folder / "data", self.folder / "unused", {"generator.steps": self.steps})
        return replace(config, rows=rows)

    def result(self, name: str) -> Path:
        """Where a result is written down."""
        return self.folder / f"{self.labels.recipe}-{self.steps}-{name}.json"


def main() -> None:
    """Make the labels, judge them, train what is missing, write the page."""
    options = _options()
    levels = [_level(noise, options) for noise in options.noise]
    _in_processes([partial(_label, level) for level in levels], options.processes)
    work = [partial(_judge, level) for level in levels]
    work += [
        partial(_train, level, seed, [arm for arm in options.arms if level is levels[0] or arm not in WITHOUT_MACHINE])
        for seed in range(options.seeds)
        for level in levels
    ]
    _in_processes(work, options.processes)
    found = [
        Found(
            level.labels,
            seeds=[_of_all_levels(levels[0], level, seed) for seed in range(options.seeds)],
            judged=_read(level.result("judged")),
        )
        for level in levels
    ]
    write_page(options.page, found, options)
    print(options.page.read_text())


def _of_all_levels(first: Level, level: Level, seed: int) -> dict[str, Any]:
    """What is written down of a seed, with the arms that only the first level trained."""
    found, shared = (_read(each.result(f"seed-{seed}")) for each in (level, first))
    return found | {
        "arms": {arm: shared["arms"][arm] for arm in WITHOUT_MACHINE if arm in shared["arms"]} | found["arms"]
    }


def _in_processes(work: Sequence[Any], processes: int) -> None:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_call, work):
            pass


def _call(piece: Any) -> None:
    torch.set_num_threads(1)
    piece()


def _label(level: Level) -> None:
    began = time.perf_counter()
    write_labels(level.folder / "data", level.labels)
    _tell(level, "labels", began)


def _judge(level: Level) -> None:
    """Write down D of each machine label: the same rows and random draws, so the same D as in the comparison."""
    path, config = level.result("judged"), level.config
    if path.exists():
        return
    began = time.perf_counter()
    contest = _prepared(level)
    rows, features = contest.rows, contest.features
    torch.manual_seed(JUDGED_SEED)
    model = MaskingModel(config.model)
    trainer = GeneratorTrainer(model, features, config.generator, JUDGED_SEED)
    trainer.run(np.ones(len(rows.train), np.float32), config.generator.warmup_steps)
    opinions = run_stage_one(model, features, contest.views, config.discriminator, seed=JUDGED_SEED)
    way = {case.draft.sample.id: case.way for case in cases("machine", level.labels.machine)}
    told = {
        "d": opinions.of("machine").tolist(),
        "verification": [row.verification for row in rows.machine],
        "quality": [row.quality for row in rows.machine],
        "truth_iou": truth_iou(rows.machine).tolist(),
        "way": [way[row.sample_id] for row in rows.machine],
    }
    _write(path, told)
    _tell(level, "judged", began)


@cache
def _prepared(level: Level) -> Contest:
    """A process that trains several seeds of a level encodes its rows once."""
    return prepare(level.config)


def _train(level: Level, seed: int, arms: Sequence[str]) -> None:
    """Train the arms that are not written down yet; they share stage I."""
    path = level.result(f"seed-{seed}")
    done = _read(path) if path.exists() else {"arms": {}, "seconds": 0.0}
    missing = [arm for arm in arms if arm not in done["arms"]]
    if not missing:
        return
    began = time.perf_counter()
    comparison = compare(_prepared(level), (seed,), missing)
    done["arms"] |= {run.arm: asdict(run.scores) for run in comparison.runs}
    done["seconds"] += time.perf_counter() - began
    _write(path, done | {"audit": asdict(comparison.audits[0])})
    _tell(level, f"seed {seed}, {len(missing)} arms", began)


def _tell(level: Level, what: str, began: float) -> None:
    print(f"noise {level.labels.noise:.0%}, {what}: {time.perf_counter() - began:.0f} s", flush=True)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write(path: Path, values: dict[str, Any]) -> None:
    with files.alone_in(path.parent):
        files.replace(path, lambda hidden: hidden.write_text(json.dumps(values) + "\n"))


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
