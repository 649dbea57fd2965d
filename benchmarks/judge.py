"""What a judge taught by verdicts is worth on new scenes, against calibrations alone: writes the end of docs/judge.md.

    python -m benchmarks.judge

The reviewer is the true mask. Verdicts are on one half of the scenes and all figures are of the other half, then the
other way round.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.judge_evidence import QUESTION, Shown, evidence, lora_judge
from benchmarks.judge_ways import BASE, EVIDENCE, SCORES, WAYS, Way, World, as_it_is, logit
from benchmarks.results import FIRST_SCENE, label_in_processes, world
from benchmarks.rounds import coverage
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.registry import embedded
from ivm_data.quality.calibration import expected_calibration_error
from ivm_data.quality.judge_features import COLUMNS
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.grammar import KINDS, MORE_KINDS
from ivm_model.metrics.bootstrap import draws, percentile
from ivm_model.metrics.mask_scores import auc
from ivm_model.predictor import Predictor
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.pixels.overlap import is_right

PAGE = Path(__file__).parents[1] / "docs" / "judge.md"
HEADING = "## What it is worth"
WORLDS = {"first": (KINDS, 400), "more": (MORE_KINDS, 150)}
"""Kinds of instructions and scenes; the same scenes, as far as they go."""
COUNTS = (50, 200, 1000)
DRAWS = {50: 6, 200: 4, 1000: 1}
"""Draws in random order; half of the scenes has hardly more than 1,000 labels."""


def main() -> None:
    """Label what is missing, teach, measure, write the end of the page."""
    options = _options()
    torch.set_num_threads(1)
    folders = options.data or [_labeled(options, name) for name in WORLDS]
    model = Predictor.from_pretrained(embedded("zoo:ivm")).model
    looks = evidence(folders, model, options.work / "evidence")
    known = read(folders, looks)
    sections = [_head(known), *_verdicts(known), *_evidence(known, looks, model, options.lora_steps), *_other(known)]
    text = PAGE.read_text()
    PAGE.write_text("\n\n".join([text.split(f"\n{HEADING}")[0].rstrip(), HEADING, *sections]) + "\n")
    print(PAGE.read_text())


def read(folders: Sequence[Path], looks: Mapping[str, Mapping[str, np.ndarray]]) -> World:
    """The labels of data sets, but for whole images."""
    columns = list(dict.fromkeys((*COLUMNS, *SCORES, "human_iou", "image_uri", "kind")))
    rows: list[dict[str, Any]] = []
    for folder in folders:
        with DataSet.open(folder, gate="written") as data:
            rows += [row for batch in data.light_batches(columns) for row in batch.to_pylist()]
    rows = [row for row in rows if row["outcome"] == "label" and row["scope"] != "whole image"]
    states_NC = np.stack([looks[row["sample_id"]]["state"] for row in rows]).astype(float)
    # A forest that chooses among 128 columns of a state would hardly look at the scores: it gets the greatest ten.
    _, _, axes_CC = np.linalg.svd(states_NC - states_NC.mean(0), full_matrices=False)
    return World(
        rows,
        np.array([bool(is_right(row["human_iou"])) for row in rows]),
        np.array([row["area"] == 0 for row in rows]),
        np.array([row["quality"] for row in rows], float),
        np.unique([Path(row["image_uri"]).stem for row in rows], return_inverse=True)[1],
        np.array([row["kind"] for row in rows]),
        np.array([_information(row) for row in rows]),
        {
            "agreement": np.stack([looks[row["sample_id"]]["agreement"] for row in rows]).astype(float),
            "state": states_NC @ axes_CC[:10].T,
            "lora": np.zeros((len(rows), 1)),
        },
    )


def _information(row: Mapping[str, Any]) -> float:
    """As the named query `review_queue` has it."""
    known = [_entropy(row[name]) for name in ("quality", "verification") if row[name] is not None]
    known += [1 - row["agreement"]] if row["agreement"] is not None else []
    return float(np.mean(known)) if known else 0.0


def _entropy(p: float) -> float:
    return 0.0 if p in (0, 1) else float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def _verdicts(known: World) -> list[str]:
    lines: list[Sequence[Any]] = []
    measured = {("", 0, BASE): _measure(known, as_it_is, 0, "random")}
    for count in COUNTS:
        for order in ("random", "informative"):
            for name, way in list(WAYS.items())[1:]:
                measured[order, count, name] = _measure(known, way, count, order)
    for (order, count, name), found in measured.items():
        lines.append((count or "-", order or "-", name, *found))
    return [markdown_table(("verdicts", "order", "quality by", *HEAD), lines)]


HEAD = ("AUC, masks", "AUC, absences", "AUC, all", "gain (95 %)", "coverage", "gain (95 %)", "ECE")


def _measure(known: World, way: Way, count: int, order: str) -> tuple[str, ...]:
    """Means over draws and halves, and intervals of what is gained over the quality as it is, over scenes and draws."""
    found: list[list[float]] = []
    gains: list[np.ndarray] = []
    for half, (pool, new) in enumerate(known.halves()):
        for draw in range(DRAWS[count] if order == "random" and count else 1):
            taught = _drawn(known, pool, count, order, seed=100 * half + draw)
            p_N, quality_N = way(known, taught, new), known.quality_N[new]
            found.append(_figures(known, new, p_N))
            gains.append(_gained(known, new, p_N, quality_N))
    mean = np.mean(found, 0)
    gain_R2 = np.mean([one[1:] for one in gains], 0)
    exact_2 = np.mean([one[0] for one in gains], 0)
    shown = [
        "-" if way is as_it_is else f"{exact:+.3f} ({low:+.3f} to {high:+.3f})"
        for exact, (low, high) in zip(exact_2, map(percentile, gain_R2.T), strict=True)
    ]
    figures = [f"{value:.3f}" for value in mean]
    return (*figures[:3], shown[0], figures[3], shown[1], figures[4])


def _drawn(known: World, pool: np.ndarray, count: int, order: str, seed: int) -> np.ndarray:
    if order == "informative":
        return pool[np.argsort(-known.information_N[pool], kind="stable")[:count]]
    return np.random.default_rng(seed).permutation(pool)[:count]


def _figures(known: World, new: np.ndarray, p_N: np.ndarray) -> list[float]:
    right_N, empty_N = known.right_N[new], known.empty_N[new]
    groups = (~empty_N, empty_N, np.ones(len(new), bool))
    aucs = [_auc(right_N[group_N], p_N[group_N]) for group_N in groups]
    return [*aucs, coverage(right_N, p_N), expected_calibration_error(p_N.tolist(), right_N.tolist())]


def _gained(known: World, new: np.ndarray, p_N: np.ndarray, quality_N: np.ndarray, resamples: int = 300) -> np.ndarray:
    """AUC and coverage gained, (1 + R, 2): of all labels first, then of resamples of scenes."""
    right_N = known.right_N[new]
    _, scene_N = np.unique(known.scene_N[new], return_inverse=True)
    rows = [np.arange(len(new)), *(rows for (rows,) in draws(scene_N, resamples=resamples))]
    return np.array(
        [
            (
                _auc(right_N[some], p_N[some]) - _auc(right_N[some], quality_N[some]),
                coverage(right_N[some], p_N[some]) - coverage(right_N[some], quality_N[some]),
            )
            for some in rows
        ]
    )


def _evidence(known: World, looks: Mapping[str, Mapping[str, np.ndarray]], model: Any, steps: int) -> list[str]:
    lines = [
        (name, *_measure(_with_lora(known, looks, model, steps) if "LoRA" in name else known, way, 1000, "random"))
        for name, way in EVIDENCE.items()
    ]
    return [
        "### What it looks at",
        "With 1,000 verdicts in random order. The LMM is the embedded one. It is asked what the discriminator asks "
        "([dwsl.md](dwsl.md)) over the image with only the mask's pixels, and of an empty mask over the whole image; "
        "of its state the ten greatest components count. A LoRA and a head on it learn in two folds "
        f"for {steps} steps of 32 labels, half of them wrong, and what the head says is the column.",
        markdown_table(("quality by", *HEAD), lines),
    ]


def _with_lora(known: World, looks: Mapping[str, Mapping[str, np.ndarray]], model: Any, steps: int) -> World:
    """The labels with what a LoRA says of them, for each half of the scenes in a column of its own.

    A verdict's own label is judged by the LoRA that the other half of the verdicts taught; new labels by both.
    """
    shown = Shown(
        np.stack([looks[row["sample_id"]]["vision"] for row in known.rows]),
        [QUESTION.format(instruction=row["instruction"]) for row in known.rows],
    )
    columns = []
    for half, (pool, _) in enumerate(known.halves()):
        taught = _drawn(known, pool, 1000, "random", seed=100 * half)
        fold_N = known.scene_N // 2 % 2
        said = [
            logit(lora_judge(model.lmm, shown, known.right_N, taught[fold_N[taught] != fold], steps)) for fold in (0, 1)
        ]
        own_N = np.where(fold_N == 0, *said)
        columns.append(np.where(known.scene_N % 2 == half, own_N, np.mean(said, 0))[:, None])
    return replace(known, extra={**known.extra, "lora": columns[0], "lora 1": columns[1]})


def _other(known: World) -> list[str]:
    groups = {"the first six": set(KINDS), "the further ten": set(MORE_KINDS)}
    lines = []
    for (taught_by, kinds), (asked, others) in (tuple(groups.items()), tuple(groups.items())[::-1]):
        found = []
        for pool, new in known.halves():
            taught = pool[np.isin(known.kind_N[pool], list(kinds))]
            here = new[np.isin(known.kind_N[new], list(others))]
            found.append([_auc(known.right_N[here], way(known, taught, here)) for way in WAYS.values()])
        lines.append((f"{taught_by}, {len(taught)}", asked, *map(float, np.mean(found, 0))))
    return [
        "### Of other kinds of instructions",
        "AUC on new scenes where all verdicts are on some kinds of instructions and all that is judged is of others:",
        markdown_table(("verdicts on", "judged", *WAYS), lines),
    ]


def _head(known: World) -> str:
    return (
        f"Written by `python -m benchmarks.judge`: {len(known.rows)} labels of the recipe `demo`, "
        f"{known.right_N.mean():.3f} of them right, on {known.scene_N.max() + 1} scenes of the test world, sixteen "
        f"kinds of instructions; {int(known.empty_N.sum())} say that there is no target. Verdicts are on one half of "
        "the scenes, all figures of the other half, both ways round. *Coverage* is the greatest share that can be "
        "accepted with 0.95 of it right. In random order the figures are means over several draws, in informative "
        "order the queue's first; gains are over the quality as it is, intervals over scenes."
    )


def _labeled(options: argparse.Namespace, name: str) -> Path:
    kinds, scenes = WORLDS[name]
    manifest = world(options.work / name, "test", scenes, 0.0, start=FIRST_SCENE, kinds=kinds)
    run = prepare(manifest, options.work / f"{name}-data", recipe("demo"), part_size=40)
    label_in_processes(run, options.processes)
    return run.data


def _auc(right_N: np.ndarray, p_N: np.ndarray) -> float:
    return auc(p_N[right_N], p_N[~right_N])


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/judge"), help="folder for worlds, labels and features")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="labels that are there already")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--lora-steps", type=int, default=120)
    return parser.parse_args()


if __name__ == "__main__":
    main()
