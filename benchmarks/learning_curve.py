"""Reproduce docs/learning-curve.md: the masking model by number of labels and of training steps.

    python -m benchmarks.learning_curve

It learns from the labels of `benchmarks.masking_model`, which makes them first, with the settings of `zoo:ivm`, and is
scored on the same new scenes. A training that is done is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import arms
from benchmarks.masking_model import SETTINGS
from ivm_data.evaluation.mask_table import evaluate_masks
from ivm_data.evaluation.report import cell
from ivm_data.evaluation.systems import system
from ivm_data.evaluation.testset import TestSet
from ivm_data.recipes.training_recipes import train_config
from ivm_model.train.trainer import train_dwsl
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "learning-curve.md"


@dataclass(frozen=True)
class Point:
    """One training: at most so many rows, human ones first (0 for all), and so many steps."""

    rows: int
    steps: int


def main() -> None:
    """Train and score what is missing, write the page."""
    options = _options()
    points = [Point(rows, options.steps) for rows in options.rows]
    points += [Point(0, steps) for steps in options.more_steps]
    work = [partial(_train, point, options.work, options.scored or options.work / "scored") for point in points]
    arms.in_processes(work, options.processes)
    PAGE.write_text(_text([(point, arms.read(_scores(point, options.work))) for point in points], options) + "\n")
    print(PAGE.read_text())


def _scores(point: Point, work: Path) -> Path:
    return work / "curve" / f"{point.rows or 'all'}-{point.steps}" / "scores.json"


def _train(point: Point, work: Path, scored: Path) -> None:
    path = _scores(point, work)
    if path.exists():
        return
    changes = {**SETTINGS, "generator.steps": point.steps, "rows.max_rows": point.rows}
    report = train_dwsl(train_config(work / "data", path.parent, changes))
    table = evaluate_masks(TestSet(scored / "world" / "manifest.jsonl"), [system(f"model:{path.parent}")])
    (name,) = table.tallies
    giou = {group: cell(of[name]["giou"]) for group, of in {"all": table.overall(), **table.by("kind")}.items()}
    arms.write(path, {"rows": report.rows, "pairs": len(table.ids), "giou": giou})


def _text(found: Sequence[tuple[Point, dict[str, Any]]], options: argparse.Namespace) -> str:
    kinds = list(found[0][1]["giou"])
    rows = [
        (f"{facts['rows']['human']:,}", f"{facts['rows']['machine']:,}", f"{point.steps:,}", *facts["giou"].values())
        for point, facts in sorted(found, key=lambda one: (one[0].steps, one[1]["rows"]["machine"]))
    ]
    command = f"--rows {' '.join(map(str, options.rows))} --steps {options.steps}"
    if options.more_steps:
        command += f" --more-steps {' '.join(map(str, options.more_steps))}"
    return "\n\n".join(
        [
            "# The masking model by labels and steps",
            "How much does `zoo:ivm` owe to the number of labels, and how much to the time it trains?",
            f"Written by `python -m benchmarks.learning_curve {command}`, one seed, after `python -m "
            "benchmarks.masking_model` had made the labels. The settings are those of "
            "[its card](../ivm_data/zoo/weights/ivm/README.md), which has the whole training of 8,000 steps.",
            f"gIoU with a 95 % interval over images, {found[0][1]['pairs']} pairs of scenes that nothing was labeled "
            "or trained on. Of `absent`, it is the share of empty masks.",
            markdown_table(("human labels", "machine labels", "steps", *kinds), rows),
        ]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/masking_model"), help="of benchmarks.masking_model")
    parser.add_argument("--scored", type=Path, help="folder with the world that scores; by default that of --work")
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1000, 2000, 4000, 0], help="most rows; 0: all")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--more-steps", type=int, nargs="*", default=[500, 2000], help="with all rows")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
