"""Fit the embedded calibration on the validation world, as docs/zoo.md describes.

python -m benchmarks.calibrate_embedded --scenes 250
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.results import label_in_processes, world
from ivm_data.engine.labeling_run import prepare
from ivm_data.quality.calibration import Calibration
from ivm_data.quality.fit_calibration import calibrate
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.worlds.grammar import ALL_KINDS, KINDS
from ivm_data.zoo.embedded import WEIGHTS
from storage.data_set import DataSet
from storage.disk.publish import write_text

MIX = (*KINDS, *ALL_KINDS)
"""The first six kinds twice: with one share in sixteen, too few labels would say that nothing is there."""
ROUNDS = 2
"""The first round calibrates the votes; the second, whose masks those votes made, the quality."""


def main() -> None:
    """Label, fit, label with what was fitted, fit again."""
    options = _options()
    torch.set_num_threads(1)
    manifest = validation_world(options.work / "world", options.scenes)
    fitted = calibrated(recipe("demo"), manifest, options.work, options.processes)
    out = WEIGHTS / "calibration.json"
    write_text(out, Path(fitted.calibration).read_text())
    print(out, Calibration.load(out))


def validation_world(directory: Path, scenes: int) -> Path:
    """Manifest of new scenes whose every pair has a human mask."""
    return world(directory, "val", scenes, 1.0, kinds=MIX)


def calibrated(chosen: Recipe, manifest: Path, work: Path, processes: int) -> Recipe:
    """A recipe with a calibration of its own, fitted on human masks; what is in `work` already is not done again."""
    fitted = replace(chosen, calibration="")
    for turn in range(ROUNDS):
        file = work / f"calibration-{turn}.json"
        if not file.exists():
            run = prepare(manifest, work / f"calibrated-{turn}", fitted, part_size=40)
            label_in_processes(run, processes)
            calibrate(DataSet.open(run.data, run.recipe_hash).labels()).save(file)
        fitted = replace(chosen, calibration=str(file))
    return fitted


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/calibration"))
    parser.add_argument("--scenes", type=int, default=250)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
