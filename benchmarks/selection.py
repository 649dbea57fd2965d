"""Would more labels be right if a trained masking model chose among what the engine kept? Writes docs/selection.md.

    python -m benchmarks.selection

The choices for a label are its own mask, each proposal, the mask of each target box (or of one box a phrase, together),
and no target. The model must not have been trained on these scenes. When it may overrule is fitted on the other half of
the scenes; a chooser is taught by the true masks there, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.results import add_world_options, labeled_world
from ivm_data.engine.choices import Choices, Looker
from ivm_data.experts.registry import embedded, get
from ivm_data.quality.chooser import Alternatives, teach_chooser
from ivm_data.quality.judge_features import COLUMNS
from ivm_data.recipes.labeling_recipes import recipe
from ivm_model.metrics.bootstrap import interval
from ivm_model.metrics.mask_scores import auc
from ivm_model.predictor import Predictor
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.records import Label

PAGE = Path(__file__).parents[1] / "docs" / "selection.md"
BATCH = 16
QUALITIES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.01)
MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


@dataclass(frozen=True)
class Choice:
    """One label with everything that may take its place, the label's own mask first.

    Attributes:
        kind: of the instruction.
        scene: hash of the image.
        quality: the engine's, NaN where unknown.
        is_empty_K: which choices say that there is no target.
        fit_K: how well the model's heatmap agrees with each.
        iou_K: of each with the truth.
        seen: what a chooser looks at.
    """

    kind: str
    scene: str
    quality: float
    is_empty_K: np.ndarray
    fit_K: np.ndarray
    iou_K: np.ndarray
    seen: Alternatives

    def taken(self, quality: float, margin: float) -> int:
        """Index of the choice when labels under a quality may be overruled by at least a margin."""
        best = int(self.fit_K.argmax())
        may = not self.quality >= quality and self.fit_K[best] - self.fit_K[0] > margin
        return best if may else 0


def main() -> None:
    """Label what is missing, choose, write the page."""
    options = _options()
    torch.set_num_threads(1)
    data = options.data or labeled_world(options.work, options.scenes, options.human_share, options.processes)[0].data
    with DataSet.open(data, gate="written") as opened:
        labels = [label for label in opened.labels() if label.sample.human_mask is not None]
        rows = {row["sample_id"]: row for batch in opened.light_batches(list(COLUMNS)) for row in batch.to_pylist()}
    choices = list(_choices(labels, rows, Predictor.from_pretrained(embedded(options.model))))
    PAGE.write_text(_page(choices, options) + "\n")
    print(PAGE.read_text())


def _choices(labels: Sequence[Label], rows: Mapping[str, Mapping[str, Any]], predictor: Predictor) -> Iterator[Choice]:
    looker, left = Looker(predictor.model, get(recipe("demo").segmenter)), iter(labels)
    while batch := list(islice(left, BATCH)):
        yield from map(_choice, looker.look(batch, [rows[label.sample.id] for label in batch]))


def _choice(found: Choices) -> Choice:
    label = found.label
    truth = label.sample.human_mask
    assert truth is not None
    return Choice(
        kind=label.sample.kind,
        scene=label.sample.image_uri,
        quality=label.scores.quality,
        is_empty_K=np.array([rle.area(mask) == 0 for mask in found.masks]),
        fit_K=found.seen.fit_KC[:, 0],
        iou_K=np.array([rle.iou(mask, truth) for mask in found.masks]),
        seen=found.seen,
    )


def fitted(choices: Sequence[Choice]) -> tuple[float, float]:
    """The quality and margin with the most right labels; of equals, those that overrule least."""
    score = lambda at: (np.mean([is_right(c.iou_K[c.taken(*at)]) for c in choices]), -at[0], at[1])  # noqa: E731
    return max(product(QUALITIES, MARGINS), key=score)


def crossed(choices: Sequence[Choice]) -> np.ndarray:
    """Index of what is taken for each, by what the other half of the scenes says."""
    half_N = _halves(choices)
    taken_N = np.zeros(len(choices), int)
    for half in (0, 1):
        at = fitted([each for each, h in zip(choices, half_N, strict=True) if h != half])
        for n in np.flatnonzero(half_N == half):
            taken_N[n] = choices[n].taken(*at)
    return taken_N


def taught(choices: Sequence[Choice]) -> np.ndarray:
    """Index of what the chooser of `ivm select` takes for each, taught by the other half of the scenes."""
    half_N, taken_N = _halves(choices), np.zeros(len(choices), int)
    for half in (0, 1):
        pool = [each for each, h in zip(choices, half_N, strict=True) if h != half]
        chooser = teach_chooser([each.seen for each in pool], [is_right(each.iou_K) for each in pool])
        for n in np.flatnonzero(half_N == half):
            choice = chooser.choose(choices[n].seen)
            taken_N[n] = choice.best if chooser.replaces(choice) else 0
    return taken_N


def together(choices: Sequence[Choice]) -> np.ndarray:
    """Quality and fit in one score: a logistic regression of the other half, for masks and absence apart."""
    from sklearn.linear_model import LogisticRegression

    x_N2 = np.array([(each.quality, each.fit_K[0]) for each in choices])
    right_N = np.array([bool(is_right(each.iou_K[0])) for each in choices])
    empty_N, half_N = np.array([each.is_empty_K[0] for each in choices]), _halves(choices)
    score_N = np.zeros(len(choices))
    for empty, half in product((False, True), (0, 1)):
        here_N, learn_N = (empty_N == empty) & (half_N == half), (empty_N == empty) & (half_N != half)
        if here_N.any():
            fit = LogisticRegression().fit(x_N2[learn_N], right_N[learn_N])
            score_N[here_N] = fit.predict_proba(x_N2[here_N])[:, 1]
    return score_N


def _halves(choices: Sequence[Choice]) -> np.ndarray:
    """0 or 1 for each label, one of both for all of a scene."""
    return _scenes(choices) % 2


def _scenes(choices: Sequence[Choice]) -> np.ndarray:
    """Number of each label's scene."""
    _, scene_N = np.unique([each.scene for each in choices], return_inverse=True)
    return scene_N


def _judges(choices: Sequence[Choice]) -> list[tuple[str, float, float]]:
    """AUC of each score between right and wrong labels, with a mask and without."""
    right_N = np.array([bool(is_right(each.iou_K[0])) for each in choices])
    empty_N = np.array([each.is_empty_K[0] for each in choices])
    scores = {
        "calibrated quality": np.array([each.quality for each in choices]),
        "fit to the model": np.array([each.fit_K[0] for each in choices]),
        "both, fitted on the other half": together(choices),
    }
    groups = (~empty_N, empty_N)
    return [
        (name, *(auc(score_N[right_N & group_N], score_N[~right_N & group_N]) for group_N in groups))
        for name, score_N in scores.items()
    ]


def _page(choices: Sequence[Choice], options: argparse.Namespace) -> str:
    ways: dict[str, Callable[[Choice], int]] = {
        "the engine's label": lambda c: 0,
        "what fits the model best": lambda c: int(c.fit_K.argmax()),
        "the ideal choice": lambda c: int(c.iou_K.argmax()),
    }
    taken = {name: np.array([way(each) for each in choices]) for name, way in ways.items()}
    taken["overruled where it pays on the other half"] = crossed(choices)
    taken["the chooser of `ivm select`, taught by the other half"] = taught(choices)
    right = {
        name: is_right(np.array([each.iou_K[k] for each, k in zip(choices, taken_N, strict=True)]))
        for name, taken_N in taken.items()
    }
    image_N = _scenes(choices)
    base_N, kinds = right["the engine's label"], sorted({each.kind for each in choices})
    rows = [
        (name, f"{right_N.mean():.3f}", _gain(right_N.astype(float) - base_N, image_N), int((taken[name] != 0).sum()))
        for name, right_N in right.items()
    ]
    kind_N = np.array([each.kind for each in choices])
    by_kind = [(name, *(float(right_N[kind_N == kind].mean()) for kind in kinds)) for name, right_N in right.items()]
    return "\n\n".join(
        [
            "# Choosing among what the engine kept",
            "Would more labels be right if the masking model chose among a label's own mask, its proposals, the "
            'masks of its boxes, and "no target"?',
            f"Written by `python -m benchmarks.selection --scenes {options.scenes} --model {options.model}`: "
            f"{len(choices)} labels of scenes that the model was not trained on, "
            f"{np.mean([len(c.fit_K) for c in choices]):.1f} choices each.",
            markdown_table(("choice", "right", "gain (95 %, over images)", "labels replaced"), rows),
            "The chooser is a forest over what [a judge](judge.md) looks at, and over how far each choice and the "
            "label's own mask agree with the heatmap ([choosing](judge.md#let-it-choose)); the true masks of one half "
            "of the scenes taught it, and it chooses for the other.",
            "Right by kind of instruction:",
            markdown_table(("choice", *kinds), by_kind),
            "## Right or wrong",
            "AUC of a score between right and wrong labels: those with a mask, and statements that there is no target "
            f"({sum(bool(c.is_empty_K[0]) for c in choices)}). The fit of such a statement is one minus the heatmap's "
            "greatest value.",
            markdown_table(("score", "masks", "no target"), _judges(choices)),
        ]
    )


def _gain(gain_N: np.ndarray, image_N: np.ndarray) -> str:
    low, high = interval(lambda rows: float(gain_N[rows].mean()), image_N)
    return f"{gain_N.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_world_options(parser)
    parser.add_argument("--data", type=Path, default=None, help="labels that are there already")
    parser.add_argument("--model", default="zoo:ivm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
