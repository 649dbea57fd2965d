"""Fit the embedded calibration on the validation world, as docs/zoo.md describes.

python -m benchmarks.calibrate_embedded --scenes 250
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.results import label_in_processes
from ivm_data.engine.labeling import prepare
from ivm_data.quality.fit_calibration import calibrate
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.grammar import ALL_KINDS, KINDS
from ivm_data.worlds.world import write_world
from ivm_data.zoo.embedded import WEIGHTS
from storage.data_set import DataSet

MIX = (*KINDS, *ALL_KINDS)
"""The first six kinds twice: with one share in sixteen, too few labels would say that nothing is there."""
ROUNDS = 2
"""The first round calibrates the votes; the second, whose masks those votes made, the quality."""


def main() -> None:
    """Label, fit, label with what was fitted, fit again."""
    options = _options()
    torch.set_num_threads(1)
    out = WEIGHTS / "calibration.json"
    world = options.work / "world"
    manifest = write_world(world, "val", options.scenes, pairs_per_scene=4, human_share=1.0, kinds=MIX)
    for turn in range(ROUNDS):
        fitted = {"calibration": ""} if turn == 0 else {}
        run = prepare(manifest, options.work / f"data-{turn}", recipe("demo", fitted), part_size=40)
        label_in_processes(run, options.processes)
        calibration = calibrate(DataSet.open(run.data, run.recipe_hash).labels())
        calibration.save(out)
        print(out, calibration)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/calibration"))
    parser.add_argument("--scenes", type=int, default=250)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
