"""The arms of a comparison, written down seed by seed, so that a benchmark that was stopped goes on from there."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.weighting_experiment import ArmSummary, Comparison, ComparisonData, SeedResult, SeedRun, compare
from ivm_model.data.training_rows import truth_iou
from ivm_model.discriminator.audit import Audit
from ivm_model.metrics.evaluation import Evaluation
from ivm_model.metrics.mask_scores import MaskScores
from storage.parts import files
from storage.pixels import rle

JUDGED_SEED = 0
"""The seed whose scores of single labels are kept."""


def train(path: Path, prepared: Callable[[], ComparisonData], seed: int, arms: Sequence[str]) -> list[str]:
    """Train the arms of a seed that `path` does not hold yet; they share stage I. Returns their names."""
    done = read(path) if path.exists() else {"arms": {}, "seconds": 0.0}
    missing = [arm for arm in arms if arm not in done["arms"]]
    if missing:
        began = time.perf_counter()
        comparison = compare(prepared(), (seed,), missing)
        done["arms"] |= {run.arm: asdict(run.scores) for run in comparison.runs}
        done["seconds"] += time.perf_counter() - began
        write(path, done | {"audit": asdict(comparison.audits[0])})
    return missing


def judge(data: ComparisonData) -> dict[str, list[Any]]:
    """D, the engine's own scores and the truth of each machine label, in the order of `ComparisonData.machine`.

    D is the one that the arms of the first seed weigh with.
    """
    scores = SeedRun(data, JUDGED_SEED).scores
    place = {sample_id: k for k, sample_id in enumerate(data.index.words("sample_id"))}
    order_N = np.array([place[row.sample_id] for row in data.machine])
    verification_K, absence_K = data.index.numbers("verification"), 1 - data.index.numbers("presence")
    return {
        "d": scores.of("machine").tolist(),
        "verification": np.where(np.isnan(verification_K), absence_K, verification_K)[order_N].tolist(),
        "quality": data.index.numbers("quality")[order_N].tolist(),
        "truth_iou": truth_iou(data.machine).tolist(),
        "area": [rle.area(row.mask) for row in data.machine],
    }


def comparison(seeds: Sequence[dict[str, Any]], arms: Sequence[str]) -> Comparison:
    """What was written down of each seed, as `benchmarks.weighting_experiment.compare` gave it."""
    return Comparison(
        tuple(SeedResult(arm, seed, _evaluation(kept["arms"][arm])) for seed, kept in enumerate(seeds) for arm in arms),
        tuple(Audit(**kept["audit"]) for kept in seeds),
    )


def score(line: ArmSummary) -> str:
    """gIoU ± its standard deviation over seeds."""
    return f"{line.giou:.3f}" + ("" if math.isnan(line.giou_std) else f" ± {line.giou_std:.3f}")


def gain(line: ArmSummary) -> str:
    """Gain and its interval, bold where that leaves out 0."""
    text = f"{line.gain:+.3f} [{line.gain_low:+.3f}, {line.gain_high:+.3f}]"
    return f"**{text}**" if line.gain_low > 0 or line.gain_high < 0 else text


def in_processes(work: Sequence[Callable[[], object]], processes: int) -> None:
    """Call each piece of work, on one thread, in a process of its own or one that did another before."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_call, work):
            pass


def _call(piece: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    piece()


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def write(path: Path, values: dict[str, Any]) -> None:
    with files.alone_in(path.parent):
        files.replace(path, lambda hidden: hidden.write_text(json.dumps(values) + "\n"))


def _evaluation(values: dict[str, Any]) -> Evaluation:
    kinds, difficulties = (
        {name: MaskScores(**scores) for name, scores in values[group].items()} for group in ("by_kind", "by_difficulty")
    )
    return Evaluation(MaskScores(**values["overall"]), kinds, difficulties, tuple(values["iou_N"]))
