"""Reproduce docs/weightings.md: the masking model trained on the engine's own labels, one arm for each weighting.

    python -m benchmarks.weightings --seeds 4

It trains on the labels that `benchmarks.results` makes, and makes them where they are missing. An arm of one seed takes
about four minutes of a core; seeds run in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import add_world_options, labeled_world, markdown
from ivm_data.training import train_config
from ivm_model.dataset import load_rows, truth_iou
from ivm_model.evaluation import evaluate_labels
from ivm_model.experiment import ARMS, Comparison, compare, prepare
from ivm_model.trainer import TrainConfig
from storage.catalog import Catalog
from storage.records import Status

PAGE = Path(__file__).parents[1] / "docs" / "weightings.md"
NOISY = (Status.ACCEPTED, Status.NO_TARGET, Status.REVIEW, Status.REJECTED)
"""Every label that has a mask, also those that the gate would throw away: the engine's own noise."""
EXPERTS = """
    select p.expert, count(*) as rows, avg(p.human_iou) as giou, avg(l.human_iou) as consensus
    from proposals p join labels l using (sample_id, recipe)
    where p.sample_id in (select unnest($ids)) group by p.expert order by giou desc
"""


def main() -> None:
    """Train every arm under every seed, write the page."""
    options = _options()
    run, _ = labeled_world(options.work, options.scenes, options.human_share, options.processes)
    PAGE.write_text("\n\n".join(_sections(run.data, options)) + "\n")
    print(PAGE.read_text())


def _sections(data: Path, options: argparse.Namespace) -> list[str]:
    config = train_config(data, options.work / "unused", {"generator.steps": options.steps, "rows.test_share": 0.35})
    noisy = replace(config, rows=replace(config.rows, statuses=NOISY))
    comparison = compare_in_processes(noisy, options.seeds, options.arms, options.processes)
    rows = load_rows(data, noisy.rows)
    (options.work / "dwsl.json").write_text(json.dumps(comparison.facts(), indent=1))
    wrong = sum(
        r.truth is not None and iou < 0.5 for r, iou in zip(rows.machine, truth_iou(rows.machine).tolist(), strict=True)
    )
    arms = [
        (s.arm, s.giou, s.giou_std, s.ciou, f"{s.gain:+.3f} [{s.gain_low:+.3f}, {s.gain_high:+.3f}]")
        for s in comparison.summary()
    ]
    kinds = sorted({kind for run in comparison.runs for kind in run.scores.by_kind})
    return [
        _head(options),
        f"{len(rows.human)} human and {len(rows.machine)} machine labels, {wrong} of the machine's "
        f"({wrong / len(rows.machine):.0%}) with an IoU under 0.5: all that the gate accepted, reviewed, rejected. "
        f"{len(rows.test)} test pairs on other scenes, {options.seeds} seeds, {options.steps} steps in every arm. "
        "Gain is over `uniform`, paired by row and seed, with a 95 % bootstrap interval over both.",
        markdown(("arm", "gIoU", "std over seeds", "cIoU", "gain [95 %]"), arms),
        "gIoU by kind of instruction, mean over seeds:",
        markdown(("arm", *kinds), [(arm, *_by_kind(comparison.runs, arm, kinds)) for arm in options.arms]),
        "The labeling engine and its single experts on the same test pairs. An expert has no mask where the engine "
        "found no target or gave up; the last column is the engine's gIoU on the rows that the expert has.",
        markdown(("labels", "rows", "gIoU", "consensus, same rows"), _engine(data, rows.test)),
        "The discriminators, audited (one line a seed):",
        markdown(tuple(vars(comparison.audits[0])), [tuple(vars(each).values()) for each in comparison.audits]),
    ]


def compare_in_processes(config: TrainConfig, seeds: int, arms: Sequence[str], processes: int) -> Comparison:
    """One process for each seed at a time."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        each = pool.starmap(_compare_one, [(config, seed, arms) for seed in range(seeds)], chunksize=1)
    return Comparison(
        tuple(run for comparison in each for run in comparison.runs),
        tuple(audit for comparison in each for audit in comparison.audits),
    )


def _compare_one(config: TrainConfig, seed: int, arms: Sequence[str]) -> Comparison:
    torch.set_num_threads(1)
    began = time.perf_counter()
    comparison = compare(prepare(config), (seed,), arms)
    print(f"seed {seed}: {time.perf_counter() - began:.0f} s", *comparison.summary(), sep="\n  ", flush=True)
    return comparison


def _by_kind(runs: Iterable[Any], arm: str, kinds: Sequence[str]) -> list[float]:
    mine = [run.scores.by_kind for run in runs if run.arm == arm]
    return [sum(scores[kind].giou for scores in mine) / len(mine) for kind in kinds]


def _engine(data: Path, test: Sequence[Any]) -> list[tuple[str, int, float, float]]:
    fused = evaluate_labels(test).overall.giou
    with Catalog(data) as catalog:
        experts = catalog.sql(EXPERTS, ids=[row.sample_id for row in test]).to_pylist()
    alone = [(f"`{row['expert']}` alone", row["rows"], row["giou"], row["consensus"]) for row in experts]
    return [("consensus of both", len(test), fused, fused), *alone]


def _head(options: argparse.Namespace) -> str:
    arms = "" if options.arms == list(ARMS) else f" --arms {' '.join(options.arms)}"
    return (
        "# Weightings on the engine's own noise\n\n"
        f"Written by `python -m benchmarks.weightings --scenes {options.scenes} --seeds {options.seeds} "
        f"--steps {options.steps}{arms}` on {os.cpu_count()} CPU cores, from the labels of [results.md](results.md)."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_world_options(parser)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
