"""Right labels by kind of instruction on new scenes, for the experts that ship and for others: docs/kinds.md.

    python -m benchmarks.kinds --scenes 150 --before OLDER_WEIGHTS

OLDER_WEIGHTS is a folder with `lmm/` and `calibration.json`, as `ivm_data/zoo/weights` of an earlier commit. A label is
right where its mask overlaps the truth by at least half, or both are empty; an input without a label is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

from benchmarks.results import FIRST_SCENE, label_in_processes, world
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.worlds.grammar import ALL_KINDS, KINDS, MORE_KINDS
from ivm_model.metrics.bootstrap import interval
from storage.catalog import Catalog
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "kinds.md"
RIGHT_IOU = 0.5
WORLDS = {"first": KINDS, "more": MORE_KINDS}
Rows = Mapping[tuple[str, str], tuple[str, bool]]
"""(image, instruction) -> kind, and whether its label is right."""


def main() -> None:
    """Label with the shipped experts and the others, compare, write the page."""
    options = _options()
    torch.set_num_threads(1)
    now = _labeled(recipe("demo"), options, "now")
    before = _labeled(_with(options.before), options, "before") if options.before else {}
    PAGE.write_text(page(now, before, options))
    print(PAGE.read_text())


def page(now: Rows, before: Rows, options: argparse.Namespace) -> str:
    """The whole page in Markdown."""
    command = f"python -m benchmarks.kinds --scenes {options.scenes}{' --before OLDER_WEIGHTS' if before else ''}"
    head = ["kind", "pairs", "right", "95 %"] + (["before", "difference", "95 %"] if before else [])
    groups = {**{kind: (kind,) for kind in ALL_KINDS}, "the first six": KINDS, "the further ten": MORE_KINDS}
    lines = [_line(name, kinds, now, before) for name, kinds in groups.items()]
    return (
        "# Right labels by kind of instruction\n\n"
        f"Written by `{command}`: {options.scenes} new scenes of the procedural world's test split with four "
        f"instructions of the first six kinds each, and as many of the others (scenes from index {FIRST_SCENE}). A "
        f"label is right where its mask overlaps the truth by at least {RIGHT_IOU}, or both are empty; an input that "
        "ends without a label is wrong.\n\n" + markdown_table(head, lines) + "\n"
    )


def _line(name: str, kinds: Sequence[str], now: Rows, before: Rows) -> list[object]:
    keys = [key for key, (kind, _) in now.items() if kind in kinds]
    right_N = np.array([now[key][1] for key in keys])
    edges = binomtest(int(right_N.sum()), len(right_N)).proportion_ci(method="wilson")
    line: list[object] = [name, len(keys), float(right_N.mean()), f"{edges.low:.3f} to {edges.high:.3f}"]
    if before:
        gain_N = right_N.astype(float) - np.array([before[key][1] for key in keys])
        image_N = np.unique([image for image, _ in keys], return_inverse=True)[1]
        low, high = interval(lambda rows_N: float(gain_N[rows_N].mean()), image_N)
        line += [float(right_N.mean() - gain_N.mean()), f"{gain_N.mean():+.3f}", f"{low:+.3f} to {high:+.3f}"]
    return line


def _labeled(labeler: Recipe, options: argparse.Namespace, name: str) -> Rows:
    rows: dict[tuple[str, str], tuple[str, bool]] = {}
    for group, kinds in WORLDS.items():
        manifest = world(options.work / group, "test", options.scenes, 0.0, start=FIRST_SCENE, kinds=kinds)
        run = prepare(manifest, options.work / f"{group}-{name}", labeler, part_size=40)
        label_in_processes(run, options.processes)
        with Catalog(run.data) as catalog:
            query = "select image_uri, instruction, kind, human_iou from outcomes"
            for row in catalog.sql(query).to_pylist():
                right = row["human_iou"] is not None and row["human_iou"] >= RIGHT_IOU
                rows[row["image_uri"], row["instruction"]] = row["kind"], right
    return rows


def _with(weights: Path) -> Recipe:
    """The same recipe with another folder's LMM and calibration."""
    lmm = ExpertSpec("hf-lmm", {"path": str(weights / "lmm")})
    plain = recipe("demo")
    proposers = tuple(
        replace(one, uses={name: lmm if name == "verifier" else part for name, part in one.uses.items()})
        for one in plain.proposers
    )
    calibration = str(weights / "calibration.json")
    return replace(plain, rewriter=lmm, verifier=lmm, proposers=proposers, calibration=calibration)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/kinds"))
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--before", type=Path, default=None, help="folder with another lmm/ and calibration.json")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
