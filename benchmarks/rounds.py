"""Does a model that the engine taught make the engine's next labels better? Writes docs/rounds.md.

    python -m benchmarks.rounds

In each round the recipe labels scenes, and a masking model learns from these labels and takes the second proposer's
place: first that of the embedded `everything`, then that of the model before. Every round is calibrated on the same
scenes, and scored on the same others. What was labeled and trained stays in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.calibrate_embedded import calibrated
from benchmarks.masking_model import FIRST_TRAINED, PART_SIZE, settings, teacher
from benchmarks.results import FIRST_SCENE, label_in_processes, world
from ivm_data.engine.labeling_run import LabelingRun, prepare
from ivm_data.experts.registry import ExpertSpec, embedded
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_model.metrics.bootstrap import interval
from ivm_model.metrics.mask_scores import auc
from ivm_model.predictor import Predictor
from ivm_model.train.trainer import train_dwsl
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.pixels import rle
from storage.pixels.images import decode
from storage.pixels.overlap import is_right
from storage.records import Status

PAGE = Path(__file__).parents[1] / "docs" / "rounds.md"
_YOURS = """## On your own data

<!-- not run: trains on your labels -->
```console
$ ivm label --manifest photos.jsonl --out labels --recipe small
$ ivm train --data labels --out photos-model
$ ivm label --manifest more.jsonl --out more-labels --recipe small \\
    --set 'proposers=[{"expert": "ivm", "options": {"path": "photos-model"}}]'
```

Calibrate anew (`ivm calibrate`): the old calibration knows nothing of its votes. Stop when the interval of a
round's gain holds 0, and look at *repeats*: a proposer that draws the engine's mistakes again agrees with them."""

FIRST_CALIBRATED = 9000
PRECISION = 0.95
DONE = (Status.ACCEPTED, Status.NO_TARGET)
BATCH = 16


@dataclass(frozen=True)
class Round:
    """What a round's recipe says of N pairs of the scored scenes.

    Attributes:
        ids: of the pairs, sorted.
        proposer: the second proposer.
        iou_N, quality_N, is_done_N: of each label with the truth, its quality, and whether it counts without review.
        scene_N: number of each pair's scene.
        kinds: of each pair.
        milliseconds: of all stages, a pair.
        model_iou_N: of the mask of the model that learned from the round's labels, with the truth; None without one.
        repeats: of the engine's wrong masks, the share that this model draws again.
    """

    ids: tuple[str, ...]
    proposer: str
    iou_N: np.ndarray
    quality_N: np.ndarray
    is_done_N: np.ndarray
    scene_N: np.ndarray
    kinds: tuple[str, ...]
    milliseconds: float
    model_iou_N: np.ndarray | None = None
    repeats: float = float("nan")

    def only(self, ids: set[str]) -> Round:
        """The same of some of its pairs."""
        rows = [n for n, one in enumerate(self.ids) if one in ids]
        return replace(
            self,
            ids=tuple(self.ids[n] for n in rows),
            kinds=tuple(self.kinds[n] for n in rows),
            iou_N=self.iou_N[rows],
            quality_N=self.quality_N[rows],
            is_done_N=self.is_done_N[rows],
            scene_N=self.scene_N[rows],
            model_iou_N=None if self.model_iou_N is None else self.model_iou_N[rows],
        )


def main() -> None:
    """Go through the rounds, write the page."""
    options = _options()
    torch.set_num_threads(1)
    rounds, model = list[Round](), ""
    for number in range(options.rounds):
        work = options.work / f"round-{number}"
        calibrating = _world(options, "calibrated", FIRST_CALIBRATED, options.calibrated, 1.0)
        chosen = calibrated(proposing(model), calibrating, work, options.processes)
        last = number == options.rounds - 1
        model = "" if last else _taught(chosen, options, work, number)
        rounds.append(_score(chosen, options, work, model))
        print(number, _row(number, rounds), flush=True)
    everywhere = set.intersection(*(set(one.ids) for one in rounds))
    rounds = [one.only(everywhere) for one in rounds]
    PAGE.write_text(_page(rounds, options) + "\n")
    print(PAGE.read_text())


def proposing(model: str) -> Recipe:
    """The demo's recipe with a masking model as its second proposer; without one with `everything`."""
    return replace(teacher(), proposers=(ExpertSpec("ivm", {"path": model}),)) if model else teacher()


def _taught(chosen: Recipe, options: argparse.Namespace, work: Path, number: int) -> str:
    """The checkpoint of a model that learned from the recipe's labels."""
    if number == 0 and options.first:
        return str(options.first)
    manifest = _world(options, "learned", FIRST_TRAINED, options.scenes, options.human_share)
    run = _labeled(chosen, manifest, work / "learned", options)
    config = settings(run.data, work / "model", options.steps)
    if not (config.out / "README.md").exists():
        train_dwsl(config, lambda stage, done, total: None)
    return str(config.out)


def _score(chosen: Recipe, options: argparse.Namespace, work: Path, model: str) -> Round:
    manifest = _world(options, "scored", FIRST_SCENE, options.scored, 1.0)
    run = _labeled(chosen, manifest, work / "scored", options)
    with DataSet.open(run.data) as opened:
        labels = sorted(opened.labels(), key=lambda label: label.sample.id)
    with Catalog(run.data) as catalog:
        milliseconds = float(np.sum(catalog.query("stage_seconds")["ms_per_row"].to_numpy()))
    truths = [label.sample.human_mask or label.mask for label in labels]
    _, scene_N = np.unique([label.sample.image_uri for label in labels], return_inverse=True)
    iou_N = np.array([rle.iou(label.mask, truth) for label, truth in zip(labels, truths, strict=True)])
    found = Round(
        ids=tuple(label.sample.id for label in labels),
        proposer=" and ".join(spec.expert for spec in chosen.proposers),
        iou_N=iou_N,
        quality_N=np.nan_to_num([label.scores.quality for label in labels]),
        is_done_N=np.array([label.status in DONE for label in labels]),
        scene_N=scene_N,
        kinds=tuple(label.sample.kind for label in labels),
        milliseconds=milliseconds,
    )
    if not model:
        return found
    masks = []
    predictor = Predictor.from_pretrained(embedded(model))
    for start in range(0, len(labels), BATCH):
        some = labels[start : start + BATCH]
        images = [decode(label.sample.image) for label in some]
        heatmaps = predictor.heatmaps(images, [label.sample.instruction for label in some])
        masks += [rle.encode(heatmap_HW > 0.5) for heatmap_HW in heatmaps]
    wrong = [n for n in range(len(labels)) if not is_right(iou_N[n])]
    again = [bool(is_right(rle.iou(masks[n], labels[n].mask))) for n in wrong]
    model_iou_N = np.array([rle.iou(mask, truth) for mask, truth in zip(masks, truths, strict=True)])
    return replace(found, model_iou_N=model_iou_N, repeats=float(np.mean(again)))


def _labeled(chosen: Recipe, manifest: Path, data: Path, options: argparse.Namespace) -> LabelingRun:
    run = prepare(manifest, data, chosen, PART_SIZE if "learned" in data.name else 40)
    label_in_processes(run, options.processes)
    return run


def _world(options: argparse.Namespace, name: str, start: int, scenes: int, human_share: float) -> Path:
    return world(options.work / name, "test", scenes, human_share, start=start)


def coverage(right_N: np.ndarray, quality_N: np.ndarray) -> float:
    """The largest share, best quality first, of which `PRECISION` is right."""
    order_N = np.argsort(-quality_N, kind="stable")
    precise_N = np.cumsum(right_N[order_N]) >= PRECISION * np.arange(1, len(order_N) + 1)
    return float((np.flatnonzero(precise_N)[-1] + 1) / len(order_N)) if precise_N.any() else 0.0


def _measures(one: Round, rows: np.ndarray) -> tuple[float, float, float]:
    """Share of right labels, AUC of the quality, and coverage."""
    right_N, quality_N = is_right(one.iou_N[rows]), one.quality_N[rows]
    return float(right_N.mean()), auc(quality_N[right_N], quality_N[~right_N]), coverage(right_N, quality_N)


def _row(number: int, rounds: Sequence[Round]) -> list[str]:
    one, every = rounds[number], np.arange(len(rounds[number].iou_N))
    right_N = is_right(one.iou_N)
    model = "" if one.model_iou_N is None else f"{one.model_iou_N.mean():.3f}"
    repeats = "" if one.model_iou_N is None else f"{one.repeats:.2f}"
    cells = [str(number), one.proposer, f"{one.iou_N.mean():.3f}", *(f"{each:.3f}" for each in _measures(one, every))]
    cells += [f"{one.is_done_N.mean():.3f}", f"{right_N[one.is_done_N].mean():.3f}", f"{one.milliseconds:.0f}"]
    return [*cells, model, repeats]


def _gains(number: int, rounds: Sequence[Round]) -> list[str]:
    """What a round gains over the one before, on the same pairs."""
    one, before = rounds[number], rounds[number - 1]
    cells = [f"{number} over {number - 1}"]
    for k in range(3):

        def gain(rows: np.ndarray, k: int = k) -> float:
            return _measures(one, rows)[k] - _measures(before, rows)[k]

        low, high = interval(gain, one.scene_N, resamples=500)
        cells.append(f"{gain(np.arange(len(one.iou_N))):+.3f} ({low:+.3f} to {high:+.3f})")
    return cells


def _page(rounds: Sequence[Round], options: argparse.Namespace) -> str:
    kinds = sorted(set(rounds[0].kinds))
    kind_N = np.array(rounds[0].kinds)
    by_kind = [
        (n, *(f"{is_right(one.iou_N[kind_N == kind]).mean():.3f}" for kind in kinds)) for n, one in enumerate(rounds)
    ]
    head = ("round", "second proposer", "gIoU", "right", "AUC", "coverage", "decided", "right of these", "ms a pair")
    first = f" --first {options.first}" if options.first else ""
    return "\n\n".join(
        [
            "# Rounds",
            "The engine labels, a masking model learns from the labels, and the model takes the second proposer's "
            "place. Are the next labels better?",
            f"Written by `python -m benchmarks.rounds --rounds {len(rounds)} --scenes {options.scenes} --steps "
            f"{options.steps}{first}`: {len(kind_N)} pairs of scenes that nothing was taught or calibrated on. "
            "Each round's calibration is fitted on the same other scenes. *right*: IoU with the truth at least 0.5. "
            "*AUC*: of the quality between right and wrong labels. *coverage*: the largest share, best quality first, "
            f"of which {PRECISION} is right. *decided*: accepted, or said to be absent. *ms a pair*: of all stages, in "
            "one process of a machine that others used too. *model*: gIoU of what learned from the round's labels. "
            "*repeats*: the share of the engine's wrong masks that this model draws again.",
            markdown_table((*head, "model", "repeats"), [_row(n, rounds) for n in range(len(rounds))]),
            "Gains on the same pairs, with 95 % intervals over scenes:",
            markdown_table(("round", "right", "AUC", "coverage"), [_gains(n, rounds) for n in range(1, len(rounds))]),
            "Right by kind of instruction:",
            markdown_table(("round", *kinds), by_kind),
            _YOURS,
        ]
    )


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/rounds"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=1500, help="scenes to learn from, of four pairs each")
    parser.add_argument("--human-share", type=float, default=0.1, help="share of them with human masks")
    parser.add_argument("--calibrated", type=int, default=120, help="scenes that calibrate")
    parser.add_argument("--scored", type=int, default=150, help="scenes that score")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--first", default="", help="a checkpoint to take for the first round's, such as zoo:ivm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
