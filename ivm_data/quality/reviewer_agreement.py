"""How far two people agree: Cohen's kappa over their verdicts, and the IoU of the masks that both corrected."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from storage.catalog import Catalog
from storage.records import MISSING


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people over the labels that both reviewed.

    Attributes:
        labels: how many those are.
        same: share with the same verdict.
        kappa: Cohen's kappa of the verdicts (Cohen 1960): 1 is perfect, 0 is chance. NaN where both always said the
            same one thing: chance alone would then agree wholly, and kappa is not defined.
        corrected: labels that both corrected.
        iou: mean IoU of those corrected masks; NaN where there are none.
    """

    first: str
    second: str
    labels: int
    same: float
    kappa: float
    corrected: int
    iou: float


def agreements(catalog: Catalog, recipe: str = "") -> list[Agreement]:
    """Every two people with labels in common, in alphabetic order."""
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in catalog.query("review_pairs", recipe=recipe).to_pylist():
        pairs[row["first"], row["second"]].append(row)
    return [_agreement(first, second, rows) for (first, second), rows in sorted(pairs.items())]


def _agreement(first: str, second: str, rows: list[dict[str, Any]]) -> Agreement:
    from sklearn.metrics import cohen_kappa_score

    one, two = [row["first_verdict"] for row in rows], [row["second_verdict"] for row in rows]
    ious = [row["iou"] for row in rows if row["iou"] is not None]
    return Agreement(
        first,
        second,
        labels=len(rows),
        same=sum(a == b for a, b in zip(one, two, strict=True)) / len(rows),
        kappa=float(cohen_kappa_score(one, two)) if len({*one, *two}) > 1 else MISSING,
        corrected=len(ious),
        iou=sum(ious) / len(ious) if ious else MISSING,
    )
