"""Reproduce docs/results.md: label quality by kind and difficulty, and real photographs.

    python -m benchmarks.results --photos ../photos/manifest.jsonl

Everything is measured on the test split of the procedural world: new scenes, with combinations of colour and shape
that no expert was trained on. Takes about five minutes on two cores; a run that was stopped labels only what is
missing. `benchmarks.weightings` trains on the same labels.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ivm_data.engine.labeling import label_part
from ivm_data.engine.labeling_run import LabelingRun, prepare
from ivm_data.recipes.labeling_recipes import Recipe, recipe
from ivm_data.worlds.grammar import KINDS
from ivm_data.worlds.split import Split
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.common.markdown import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FIRST_SCENE = 5000


def main() -> None:
    """Label, measure, write the page."""
    options = _options()
    run, seconds = labeled_world(options.work, options.scenes, options.human_share, options.processes)
    sections = [_head(options), *_quality(run, seconds)]
    if options.photos:
        sections += _photographs(options.photos, options.work / "photos", options.processes)
    PAGE.write_text("\n\n".join(sections) + "\n")
    print(PAGE.read_text())


def labeled_world(
    work: Path,
    scenes: int,
    human_share: float,
    processes: int,
    *,
    part_size: int = 40,
    chosen: Recipe | None = None,
) -> tuple[LabelingRun, float]:
    """The labels that pages are about, by the demo's recipe or another, and the seconds that the missing ones took."""
    torch.set_num_threads(1)
    manifest = world(work / "world", "test", scenes, human_share, start=FIRST_SCENE)
    run = prepare(manifest, work / "data", chosen or recipe("demo"), part_size)
    return run, label_in_processes(run, processes)


def world(
    directory: Path, split: Split, scenes: int, human_share: float, *, start: int = 0, kinds: Sequence[str] = KINDS
) -> Path:
    """Manifest of a world with four pairs a scene; one that is there already stays as it is."""
    manifest = directory / "manifest.jsonl"
    if not manifest.exists():
        write_world(directory, split, scenes, 4, human_share, start=start, kinds=kinds)
    return manifest


def label_in_processes(run: LabelingRun, processes: int) -> float:
    """Label the open parts, one process a core; returns wall-clock seconds."""
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_label_one, [(run, part) for part in run.open_parts()]):
            pass
    return time.perf_counter() - began


def _label_one(work: tuple[LabelingRun, Any]) -> None:
    torch.set_num_threads(1)
    label_part(*work)


def _quality(run: LabelingRun, seconds: float) -> list[str]:
    with Catalog(run.data) as catalog:
        total = catalog.sql("select count(*) as n from outcomes").to_pylist()[0]["n"]
        ece = catalog.query("calibration", held_out=True).to_pylist()
        speed = f" ({seconds / total:.2f} s a pair on two cores)" if seconds > 60 else ""
        return [
            "## Label quality",
            f"{total} pairs{speed}. Only rows whose human mask is held out: nothing was trained or calibrated on them. "
            "*precision* is the share of labels with an IoU of at least 0.5 with the truth.",
            table(catalog.query("held_out_by_difficulty")),
            table(catalog.query("held_out_by_kind")),
            "## Absent targets",
            "Detected by the engine, and by each signal alone:",
            table(catalog.query("presence", held_out=True)),
            "## Outcome counts",
            "All inputs, by stage, status and reason:",
            table(catalog.query("reasons")),
            "## Calibration",
            f"`quality` against the share of right labels, on the same held-out rows. ECE {ece[0]['ece']:.3f}:"
            if ece
            else "",
            table(catalog.query("calibration", held_out=True), drop=("ece",)),
            "## Scores",
            "Each score alone (AUC against IoU of at least 0.5):",
            table(catalog.query("score_auc")),
            "## Experts",
            "Each expert's own masks:",
            table(catalog.query("expert_reliability")),
        ]


def _photographs(manifest: Path, data: Path, processes: int) -> list[str]:
    run = prepare(manifest, data, recipe("demo"), part_size=20)
    label_in_processes(run, processes)
    with Catalog(data) as catalog:
        statuses = catalog.sql(
            "select coalesce(status, 'rejection') as outcome, reason, count(*) as pairs, avg(human_iou) as human_iou"
            " from outcomes group by all order by pairs desc"
        )
        without = catalog.sql(
            "select count(*) filter (quality >= 0.8) as trusted, count(*) filter (quality >= 0.8 and human_iou < 0.5)"
            " as wrongly_trusted from labels"
        ).to_pylist()[0]
    return [
        "## Photographs",
        "The embedded experts were trained on none. Every pair must end as a row, and the gate must accept no wrong "
        "mask.",
        table(statuses),
        "By calibrated quality alone, without the rule on unknown words, "
        f"{without['trusted']} would have been accepted, {without['wrongly_trusted']} of them wrongly.",
    ]


def table(result: Any, drop: Sequence[str] = ("recipe",)) -> str:
    """An Arrow table in Markdown."""
    kept = [name for name in result.column_names if name not in drop]
    return markdown_table(kept, zip(*(result[name].to_pylist() for name in kept), strict=True))


def with_interval(value: float, interval: tuple[float, float]) -> str:
    """A difference with its interval."""
    return f"{value:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})"


def _head(options: argparse.Namespace) -> str:
    photos = " --photos MANIFEST" if options.photos else ""
    return (
        "# Results\n\n"
        "How good are the labels? The embedded experts on the procedural world's test split (scenes from index "
        f"{FIRST_SCENE}): new scenes, with combinations of colour and shape that were never trained on.\n\n"
        f"Written by `python -m benchmarks.results --scenes {options.scenes}{photos}` on {os.cpu_count()} CPU cores. "
        "The training on these labels: [weightings.md](weightings.md)."
    )


def add_world_options(parser: argparse.ArgumentParser) -> None:
    """What decides the labels."""
    parser.add_argument("--work", type=Path, default=Path("build/results"), help="folder for data and world")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--human-share", type=float, default=0.15)
    parser.add_argument("--processes", type=int, default=2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_world_options(parser)
    parser.add_argument("--photos", type=Path, default=None, help="manifest of photographs with true masks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
