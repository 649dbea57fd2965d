"""What people said of labels, as a judge learns it: the label's row, and whether the label is right.

The same labels teach it as teach a calibration (`ivm_data.quality.fit_calibration`): human masks that are not held out,
and reviews, but for those in random order, which are kept to judge gates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivm_data.quality.fit_calibration import LEAST, teaching
from ivm_data.quality.judge_features import COLUMNS
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.reading.reader import among
from storage.records import Rle
from storage.tables.reviews import Adjudication

_KNOWN = ("has_human", "held_out", "human_iou", "human_area")


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Labels whose verdict is known.

    Attributes:
        rows: their light rows, with `judge_features.COLUMNS`.
        right_N: the verdicts, bool.
        by: how many each kind of truth gave: "human mask", "right", "fixed" or "wrong".
        kept: reviews in random order, which were left out.
    """

    rows: Sequence[Mapping[str, Any]]
    right_N: np.ndarray
    by: Mapping[str, int]
    kept: int

    def check(self, least: int) -> None:
        """Refuse too few to learn from.

        Raises:
            ConfigError: with what is missing.
        """
        right = int(self.right_N.sum())
        wrong = len(self.right_N) - right
        if len(self.right_N) < least or min(right, wrong) < LEAST:
            aside = f"; {self.kept} reviews in random order are left out: they judge gates" if self.kept else ""
            raise ConfigError(
                f"a judge needs {least} verdicts at least, {LEAST} right and {LEAST} wrong ones among them, got "
                f"{right} right and {wrong} wrong{aside}; review labels with 'ivm review', the most informative first"
            )


def verdicts(data: DataSet) -> Verdicts:
    """Of one recipe's labels.

    Args:
        data: opened as labeling wrote it (gate "written").

    Raises:
        ConfigError: no labels, or several recipes.
    """
    import pyarrow.compute as pc

    bound = data.at(data.recipe)
    reviewed = {name: found for (recipe, name), found in teaching(bound).items() if recipe == bound.recipe}
    where = (pc.field("outcome") == "label") & ~pc.field("held_out")
    known = where & (pc.field("has_human") | among("sample_id", reviewed))
    columns = list(dict.fromkeys((*COLUMNS, *_KNOWN)))
    rows = [row for batch in bound.light_batches(columns, known) for row in batch.to_pylist()]
    fixed = {row["sample_id"] for row in rows if (said := reviewed.get(row["sample_id"])) and said.mask}
    masks = bound.masks(fixed) if fixed else {}
    found = [(row, *_verdict(row, reviewed.get(row["sample_id"]), masks)) for row in rows]
    taught = [(row, by, right) for row, by, right in found if right is not None]
    random = sum(one.drawn is not None and one.drawn.order == "random" for one in bound.reviews())
    right_N = np.array([right for *_, right in taught], bool)
    return Verdicts([row for row, *_ in taught], right_N, Counter(by for _, by, _ in taught), random)


def _verdict(row: Mapping[str, Any], said: Adjudication | None, masks: Mapping[str, Rle]) -> tuple[str, bool | None]:
    """(what says so, whether the label is right); None where nobody knows. A review outweighs the sample's mask."""
    if row["scope"] == "whole image" and row["area"]:
        return "", None
    if said and said.verdict in ("right", "wrong", "wrong_instruction"):
        return said.verdict, None if said.verdict == "wrong_instruction" else said.verdict == "right"
    if said and said.mask:
        mask = masks[row["sample_id"]]
        return "fixed", bool(is_right(rle.iou(mask, said.mask)) if row["area"] else rle.area(said.mask) == 0)
    if not row["has_human"]:
        return "", None
    return "human mask", bool(is_right(row["human_iou"]) if row["area"] else row["human_area"] == 0)
