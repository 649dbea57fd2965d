"""What the whole recipe gains and loses against the grounder's boxes alone, step by step.

Run: python -m benchmarks.consensus [--scenes 120] [--start 5000] [--work build/consensus]

Every pair's IoU under the recipe less its IoU under the boxes is charged to the step that made the difference: an
absence that is true or not, an input without a mask, the choice among the boxes (the grounder's own proposal against
the boxes alone), the vote (the label against that proposal). The rows add up to the whole difference. Intervals are at
95 % and resample images. Labels stay in `--work`: a run that was stopped labels what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.results import label_in_processes, with_interval
from ivm_data.engine.labeling_run import prepare
from ivm_data.evaluation.systems import system
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import read_part
from ivm_data.sources.manifest_parts import ManifestPart
from ivm_data.worlds.world import write_world
from ivm_model.metrics import bootstrap
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.pixels import rle
from storage.records import Label, Rle, Sample

STEPS = ("absent, and so it is", "absent, but it is there", "no mask", "choice among boxes", "vote of the experts")


class Charge(NamedTuple):
    """A difference in IoU that a step made on one pair."""

    image: str
    step: str
    gain: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/consensus"), help="folder of world and labels")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--scenes", type=int, default=120, help="images, three instructions each")
    parser.add_argument("--start", type=int, default=5000, help="index of the first scene")
    parser.add_argument("--processes", type=int, default=2, help="that label what is missing")
    options = parser.parse_args()
    manifest = options.work / "world" / "manifest.jsonl"
    if not manifest.exists():
        write_world(manifest.parent, options.split, options.scenes, 3, human_share=0.0, start=options.start)
    run = prepare(manifest, options.work / "data", recipe("demo"), part_size=40)
    label_in_processes(run, options.processes)
    labels = {label.sample.id: label for label in DataSet.open(run.data, run.recipe_hash).labels()}
    report(list(charges(run.parts, labels)))


def charges(parts: tuple[ManifestPart, ...], labels: dict[str, Label]) -> Iterator[Charge]:
    """At least one of each pair."""
    boxes = system("boxes:demo")
    for part in parts:
        samples = [item for item in read_part(part) if isinstance(item, Sample)]
        for sample, alone_HW in zip(samples, boxes.masks(samples), strict=True):
            assert sample.human_mask is not None
            alone = rle.iou(rle.encode(alone_HW), sample.human_mask)
            for step, gain in _steps(labels.get(sample.id), alone, sample.human_mask):
                yield Charge(sample.image_uri, step, gain)


def _steps(label: Label | None, alone: float, truth: Rle) -> Iterator[tuple[str, float]]:
    if label is None:
        yield "no mask", float(not rle.area(truth)) - alone
    elif not label.proposals:
        is_absent = not rle.area(truth)
        yield STEPS[0 if is_absent else 1], float(is_absent) - alone
    else:
        proposal = rle.iou(label.proposals[0].mask, truth)
        yield "choice among boxes", proposal - alone
        yield "vote of the experts", label.human_iou - proposal


def report(found: list[Charge]) -> None:
    image_C = np.unique([charge.image for charge in found], return_inverse=True)[1]
    step_C, gain_C = np.array([charge.step for charge in found]), np.array([charge.gain for charge in found])
    pair_C = step_C != "vote of the experts"
    rows = []
    for step in (*STEPS, "all"):
        of_step_C = step_C == step if step != "all" else np.ones(len(found), bool)
        share_C = np.where(of_step_C, gain_C, 0)

        def gain(rows_C: np.ndarray, share_C: np.ndarray = share_C) -> float:
            return share_C[rows_C].sum() / pair_C[rows_C].sum()

        shown = with_interval(gain(np.arange(len(found))), bootstrap.interval(gain, image_C))
        rows.append([step, str((of_step_C if step != "all" else pair_C).sum()), shown])
    print(markdown_table(["step", "pairs", "gIoU against the boxes alone"], rows))


if __name__ == "__main__":
    main()
