"""A judge at work on a data set: what it is worth on verdicts, its opinion of every label, a gate that stands on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss

from ivm_data.quality import regate
from ivm_data.quality.judge import Judge
from ivm_data.quality.judge_features import COLUMNS, group
from ivm_data.quality.verdicts import Verdicts
from ivm_model.metrics.bootstrap import interval
from ivm_model.metrics.mask_scores import auc
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.book import WRITTEN
from storage.gates.gate import Gate, Judged
from storage.parts import layout
from storage.parts.shards import write_weights
from storage.records import Weight

Progress = Callable[[int], None]
"""Told how many labels were judged since it was told last."""


@dataclass(frozen=True)
class Measured:
    """A judge beside the quality that labeling wrote, on verdicts that did not teach what judges them.

    Attributes:
        of: "all", "masks" or "absences".
        quality, judge: AUC of right against wrong labels, NaN where all are of one kind.
        gain: 95 % interval of the difference, over images; NaN where it is not known.
        quality_loss, judge_loss: mean log loss in nats.
    """

    of: str
    labels: int
    right: int
    quality: float
    judge: float
    gain: tuple[float, float]
    quality_loss: float
    judge_loss: float


def measure(judge: Judge, said: Verdicts) -> tuple[Measured, ...]:
    """What the judge is worth on the verdicts that taught it, each judged by a forest that did not see its image."""
    p_N, _ = judge.judge(said.rows)
    quality_N = np.array([0.5 if row["quality"] is None else row["quality"] for row in said.rows], float)
    empty_N = np.array([row["area"] == 0 for row in said.rows], bool)
    _, image_N = np.unique([group(row) for row in said.rows], return_inverse=True)
    kinds = {"all": np.ones(len(p_N), bool), "masks": ~empty_N, "absences": empty_N}
    return tuple(
        _measured(of, said.right_N[kept_N], quality_N[kept_N], p_N[kept_N], image_N[kept_N])
        for of, kept_N in kinds.items()
        if kept_N.any()
    )


def _measured(of: str, right_N: np.ndarray, quality_N: np.ndarray, p_N: np.ndarray, image_N: np.ndarray) -> Measured:
    def gained(rows: np.ndarray) -> float:
        return _auc(right_N[rows], p_N[rows]) - _auc(right_N[rows], quality_N[rows])

    _, unit_N = np.unique(image_N, return_inverse=True)
    gain = interval(gained, unit_N, resamples=500) if len(set(right_N.tolist())) == 2 else (np.nan, np.nan)
    return Measured(
        of,
        len(right_N),
        int(right_N.sum()),
        _auc(right_N, quality_N),
        _auc(right_N, p_N),
        gain,
        _log_loss(right_N, quality_N),
        _log_loss(right_N, p_N),
    )


def _log_loss(right_N: np.ndarray, p_N: np.ndarray) -> float:
    return float(log_loss(right_N, np.clip(p_N, 1e-4, 1 - 1e-4), labels=[False, True]))


def _auc(right_N: np.ndarray, p_N: np.ndarray) -> float:
    return auc(p_N[right_N], p_N[~right_N])


def judge_labels(folder: Path, judge: Judge, progress: Progress = lambda _: None) -> int:
    """Write the judge's opinion of every label, a shard for each part that has none yet.

    Whole images are not judged.

    Returns:
        How many labels were judged.

    Raises:
        ConfigError: the data set has no labels of the judge's recipe.
    """
    with DataSet.open(folder, judge.recipe, gate=WRITTEN) as data:
        known = {path.stem for path in data.opinions(judge.name)}
        count = 0
        for part, rows in _parts(data):
            if layout.name(part) in known:
                continue
            p_N, fold_N = judge.judge(rows)
            found = zip([row["sample_id"] for row in rows], p_N.tolist(), fold_N.tolist(), strict=True)
            weights = [Weight(name, judge.recipe, judge.name, p, fold) for name, p, fold in found]
            write_weights(folder, judge.name, part, weights)
            count += len(rows)
            progress(len(rows))
    return count


def _parts(data: DataSet) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each part's rows of labels that can be judged."""
    import pyarrow.compute as pc

    batches = data.light_batches(list(COLUMNS), pc.field("outcome") == "label")
    rows = (row for batch in batches for row in batch.to_pylist() if row["scope"] != "whole image" or not row["area"])
    for part, some in groupby(rows, key=itemgetter("part")):
        yield part, list(some)


def judged_gate(gate: Gate, judge: Judge) -> Gate:
    """The gate with its quality by a judge; what a judge does not see keeps the quality that the gate had.

    Raises:
        ConfigError: the judge is of another recipe.
    """
    if gate.recipe != judge.recipe:
        raise ConfigError(
            f"the judge learned labels of recipe {judge.recipe}, these are of {gate.recipe}; "
            "teach one of their own with 'ivm train-judge'"
        )
    otherwise = gate.quality.otherwise if isinstance(gate.quality, Judged) else gate.quality
    return replace(gate, quality=Judged(judge.name, judge.verdicts, judge.config.anew, otherwise), promise=None)


def apply_judge(folder: Path, judge: Judge, *, name: str = "", who: str) -> Gate:
    """Make the judge's quality current, with the thresholds that count now.

    Raises:
        ConfigError: see `judged_gate`.
    """
    with DataSet.open(folder, judge.recipe) as data:
        gate = judged_gate(regate.current(data), judge)
    regate.apply(folder, gate, name=name, who=who)
    return gate
