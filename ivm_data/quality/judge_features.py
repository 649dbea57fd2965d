"""What a judge looks at: a label's light row, that is what experts said of it and what the instruction asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from storage.gates.gate import MASK_FEATURES
from storage.request import EXCEPT, OR

UNKNOWN = -1.0
"""What a missing score counts as: trees put it apart from every number in [0, 1]."""
BETTER_THAN_NOT = 0.5
"""P(yes) from which on another candidate contests a chosen one."""

_SCORES = (*MASK_FEATURES, "verification", "understood")
_THINGS = ("things", "targets", "described", "ordered", "left_out", "alternatives", "most", "least", "steps")
_BOXES = ("boxes", "chosen", "best_chosen", "best_other", "p_yes_other", "contested")
_PROPOSALS = ("proposals", "score_least", "score_most", "overlap_least", "overlap_most")
FEATURES = ("quality", *_SCORES, "is_absent", "words", *_THINGS, *_BOXES, *_PROPOSALS)
"""Names of the columns, in order."""

COLUMNS = (
    *("recipe", "part", "sample_id", "image_sha", "episode", "outcome", "scope", "area", "instruction"),
    *("quality", *_SCORES, "things", "candidates", "proposals"),
)
"""Of `storage.parts.schema.LIGHT`, what `features` and `group` read; the quality as labeling wrote it."""


def features(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """What N light rows of labels say, float64 (N, F): a column for each of `FEATURES`, `UNKNOWN` where missing."""
    found = np.array([_row(row) for row in rows], float).reshape(len(rows), len(FEATURES))
    return np.where(np.isfinite(found), found, UNKNOWN)


def group(row: Mapping[str, Any]) -> str:
    """What labels share that are judged alike: the episode of a frame, else the image."""
    return str(row["episode"] if row["episode"] is not None else row["image_sha"])


def _row(row: Mapping[str, Any]) -> list[float]:
    scores = [_number(row[name]) for name in ("quality", *_SCORES)]
    plain = [float(row["area"] == 0), float(len(row["instruction"].split()))]
    return [*scores, *plain, *_asked(row["things"]), *_boxes(row["candidates"]), *_masks(row["proposals"])]


def _asked(things: Sequence[Mapping[str, Any]] | None) -> list[float]:
    """How much an instruction asks for; labels from before `things` do not say it."""
    if things is None:
        return [UNKNOWN] * len(_THINGS)
    counts, relations = [one["count"] for one in things], [one["relation"] for one in things]
    return [
        len(things),
        sum(one["of"] < 0 for one in things),
        sum(one["of"] >= 0 for one in things),
        sum(bool(one["order"]) for one in things),
        relations.count(EXCEPT),
        relations.count(OR),
        max(counts, default=UNKNOWN),
        min(counts, default=UNKNOWN),
        max((one["step"] for one in things), default=UNKNOWN),
    ]


def _boxes(candidates: Sequence[Mapping[str, Any]] | None) -> list[float]:
    targets = [one for one in candidates or () if one["role"] == "target"]
    chosen, others = ([one for one in targets if one["chosen"] == taken] for taken in (True, False))
    asked = [_number(one["p_yes"]) for one in others]
    return [
        len(targets),
        len(chosen),
        _most(one["score"] for one in chosen),
        _most(one["score"] for one in others),
        _most(asked),
        sum(p > BETTER_THAN_NOT for p in asked),
    ]


def _masks(proposals: Sequence[Mapping[str, Any]] | None) -> list[float]:
    scores, overlaps = ([_number(one[name]) for one in proposals or ()] for name in ("score", "iou_with_label"))
    return [len(scores), _least(scores), _most(scores), _least(overlaps), _most(overlaps)]


def _most(numbers: Iterable[float]) -> float:
    """The greatest of what is known, NaN where nothing is."""
    return max((one for one in numbers if np.isfinite(one)), default=np.nan)


def _least(numbers: Iterable[float]) -> float:
    return min((one for one in numbers if np.isfinite(one)), default=np.nan)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
