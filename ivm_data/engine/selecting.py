"""The best of what the engine kept takes a label's place, where a chooser that true masks taught prefers it enough.

The rows that change are committed as a part of a later attempt, beside the old ones, with the chooser in their lineage;
undoing appends the old ones again. Labels that people judged or drew stay as they are, and so do whole images and masks
that were carried from other frames.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.config import build
from ivm_data.engine.choices import Choices, Looker
from ivm_data.engine.later_attempts import attempt_of, later_attempts
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.quality.chooser import Choice, Chooser, teach_chooser
from ivm_data.quality.fit_calibration import teaching, truth_of
from ivm_data.quality.judge_features import COLUMNS
from ivm_data.quality.regate import current
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.stages.gate import decide
from ivm_model.model.masking_model import MaskingModel
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.book import WRITTEN
from storage.gates.gate import GateConfig
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.pixels.overlap import is_right
from storage.reading import counting, whole_labels
from storage.reading.reader import among
from storage.records import MISSING, Label, Lineage, Proposal, Rejection, Rle
from storage.tables import recipes, reviews

CHOOSER = "chooser"
"""Role of what chose a label's mask, in its lineage."""
STAGE = "select"
LEAST = 50
"""Labels with a true mask that a chooser needs."""
BATCH, PARTS = 16, 16
"""Labels that are looked at together, and planned parts whose rows are in memory together."""
_MORE = ("part", "tracked_from", "held_out", "has_human")

Progress = Callable[[int], None]
"""Told how many labels were looked at since it was told last."""


@dataclass(frozen=True)
class Replaced:
    """A label whose mask another one may replace.

    Attributes:
        was, becomes: "mask" or "no target".
        mask: what takes the place.
        part: of the row that counts now.
    """

    sample_id: str
    instruction: str
    was: str
    becomes: str
    choice: Choice
    mask: Rle
    part: str


@dataclass(frozen=True)
class Selected:
    """What a chooser found.

    Attributes:
        looked: labels that it chose for.
        parts: that were committed; () for a preview.
    """

    chooser: Chooser
    looked: int
    replaced: tuple[Replaced, ...]
    parts: tuple[str, ...] = ()


def select(
    folder: Path,
    model: MaskingModel,
    recipe: str | None = None,
    *,
    apply: bool = False,
    margin: float | None = None,
    progress: Progress = lambda _: None,
) -> Selected:
    """Teach a chooser by the true masks of a data set, and let it choose for all other labels of the recipe.

    Args:
        model: whose heatmaps the choices are compared with; it should not have learned from these labels' images.
        apply: commit the rows that change; else nothing is written.
        margin: by how much likelier right an alternative must be; None for what pays on the labels that teach.

    Raises:
        ConfigError: no labels, several recipes, or too few true masks.
    """
    began = time.perf_counter()
    with DataSet.open(folder, recipe, gate=WRITTEN) as opened:
        data = opened.at(opened.recipe)
        looker, config = Looker(model, get(_segmenter(data))), _gate(folder, data.recipe)
        chooser = _taught(data, looker, progress)
        if margin is not None:
            chooser = replace(chooser, margin=margin)
        found, looked = [], 0
        for part, seen in _looked(data, looker, _open_rows(data), progress):
            looked += 1
            choice = chooser.choose(seen.seen)
            if chooser.replaces(choice):
                found.append(_replaced(part, seen, choice))
        of = {one.sample_id: one for one in found}

        def changed(part: str, names: Sequence[str]) -> Iterator[Label]:
            for label in data.labels_of(_keys(part, names)):
                one = of[label.sample.id]
                yield _with_mask(label, one.mask, one.choice.other, chooser.name, config)

        parts_of = {one.sample_id: one.part for one in found} if apply else {}
        parts = _commit(folder, data, parts_of, changed, time.perf_counter() - began)
    return Selected(chooser, looked, tuple(found), parts)


def undo(folder: Path, recipe: str | None = None) -> tuple[int, tuple[str, ...]]:
    """Append the rows again whose place choosers took; (how many, the parts that were committed)."""
    began = time.perf_counter()
    with DataSet.open(folder, recipe, gate=WRITTEN) as opened:
        data = opened.at(opened.recipe)
        chosen = {
            row["sample_id"]: row["part"]
            for batch in data.light_batches(["sample_id", "part", "experts"])
            for row in batch.to_pylist()
            if any(one["role"] == CHOOSER for one in row["experts"] or ())
        }
        parts = _commit(folder, data, chosen, partial(_before, _attempts(data)), time.perf_counter() - began)
    return len(chosen), parts


def _commit(
    folder: Path,
    data: DataSet,
    parts_of: Mapping[str, str],
    labels: Callable[[str, Sequence[str]], Iterable[Label]],
    seconds: float,
) -> tuple[str, ...]:
    """Commit rows, those of some planned parts in memory at a time.

    Args:
        parts_of: sample id -> part of the row whose place is taken.
        labels: part and sample ids -> the rows that take it.
    """
    ids_of: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, part in parts_of.items():
        ids_of[attempt_of(part)[0]][part].append(name)
    committed, planned = [], iter(ids_of.values())
    while some := list(islice(planned, PARTS)):
        ids = {part: names for of_part in some for part, names in of_part.items()}
        new: dict[str, list[Label | Rejection]] = {part: [*labels(part, names)] for part, names in ids.items()}
        share = sum(map(len, new.values())) / len(parts_of)
        for result in later_attempts(data, new, seconds * share, STAGE):
            commit_part(folder, result)
            committed.append(result.part)
    if committed:
        with DataSet.open(folder) as after:
            counting.remember(after)
    return tuple(committed)


def _attempts(data: DataSet) -> dict[str, list[tuple[int, str, Path]]]:
    """By planned part, its attempts: (number, part, file)."""
    found: dict[str, list[tuple[int, str, Path]]] = defaultdict(list)
    for (owner, part), light in data.light_of.items():
        if owner == data.recipe:
            planned, number = attempt_of(part)
            found[planned].append((number, part, light))
    return found


def _before(attempts: Mapping[str, list[tuple[int, str, Path]]], part: str, ids: Sequence[str]) -> Iterable[Label]:
    """The latest row of each sample that no chooser chose."""
    found: dict[str, Label] = {}
    for _, one, light in sorted(attempts[attempt_of(part)[0]]):
        for label in whole_labels.labels(light, among("sample_id", ids) & among("part", [one])):
            if CHOOSER not in dict(label.lineage.experts):
                found[label.sample.id] = label
    return found.values()


def _keys(part: str, names: Iterable[str]) -> Any:
    import pyarrow as pa

    names = list(names)
    return pa.table({"part": [part] * len(names), "sample_id": names})


def _segmenter(data: DataSet) -> ExpertSpec:
    config = recipes.load(data.folder, data.recipe)
    where = str(recipes.recipe_path(data.folder, data.recipe))
    spec: ExpertSpec = build(ExpertSpec, config["segmenter"], where) if config else demo().segmenter
    return spec


def _gate(folder: Path, recipe: str) -> GateConfig:
    with DataSet.open(folder, recipe) as data:
        return current(data).config


def _taught(data: DataSet, looker: Looker, progress: Progress) -> Chooser:
    """By labels whose true mask is known and may teach."""
    reviewed = {name: said for (_, name), said in teaching(data).items()}
    truths: dict[str, Rle] = {}
    for label in data.labels(_teach_where(reviewed)):
        _, _, truth = truth_of(label, reviewed.get(label.sample.id))
        if truth is not None and label.request.scope != "whole image":
            truths[label.sample.id] = truth
    rows = [row for row in _rows(data) if row["sample_id"] in truths]
    seen = [one for _, one in _looked(data, looker, rows, progress)] if len(rows) >= LEAST else []
    right = [_right(one.masks, truths[one.label.sample.id]) for one in seen]
    missing = len(rows) < LEAST
    try:
        if not missing:
            return teach_chooser([one.seen for one in seen], right)
    except ValueError:
        missing = True
    raise ConfigError(
        f"a chooser needs {LEAST} labels whose true mask is known, some right and some wrong, got {len(rows)}; fix "
        "masks with 'ivm review', or label more human rows (a manifest with 'targets')"
    )


def _teach_where(reviewed: Mapping[str, Any]) -> Any:
    import pyarrow.compute as pc

    return (pc.field("has_human") | among("sample_id", reviewed)) & ~pc.field("held_out")


def _right(masks: Sequence[Rle], truth: Rle) -> np.ndarray:
    none = rle.area(truth) == 0
    return np.array([rle.area(one) == 0 if none else bool(is_right(rle.iou(one, truth))) for one in masks])


def _rows(data: DataSet) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc

    for batch in data.light_batches(list(dict.fromkeys((*COLUMNS, *_MORE))), pc.field("outcome") == "label"):
        yield from batch.to_pylist()


def _open_rows(data: DataSet) -> Iterator[dict[str, Any]]:
    """Rows whose mask may be replaced."""
    judged = {one.sample_id for one in reviews.current(data.reviews()) if one.recipe == data.recipe}
    for row in _rows(data):
        by_people = row["sample_id"] in judged or (row["has_human"] and not row["held_out"])
        if not by_people and row["scope"] != "whole image" and not row["tracked_from"]:
            yield row


def _looked(
    data: DataSet, looker: Looker, rows: Iterable[Mapping[str, Any]], progress: Progress
) -> Iterator[tuple[str, Choices]]:
    """Each row's part and choices."""
    for part, of_part in groupby(rows, key=itemgetter("part")):
        by_id = {row["sample_id"]: row for row in of_part}
        labels = iter(data.labels_of(_keys(part, by_id)))
        while some := list(islice(labels, BATCH)):
            yield from ((part, one) for one in looker.look(some, [by_id[label.sample.id] for label in some]))
            progress(len(some))


def _replaced(part: str, seen: Choices, choice: Choice) -> Replaced:
    label, mask = seen.label, seen.masks[choice.best]
    was, becomes = ("no target" if rle.area(one) == 0 else "mask" for one in (label.mask, mask))
    return Replaced(label.sample.id, label.sample.instruction, was, becomes, choice, mask, part)


def _with_mask(label: Label, mask: Rle, quality: float, name: str, config: GateConfig) -> Label:
    """The label with another mask; scores of the old mask are gone."""
    absent = rle.area(mask) == 0
    given = tuple(replace(one, iou_with_label=rle.iou(one.mask, mask)) for one in label.proposals)
    drawn = Proposal(name, mask, score=quality, support=quality, iou_with_label=1.0)
    area = MISSING if absent else rle.area(mask) / (mask.height * mask.width)
    gone = dict.fromkeys(("p_yes_kept", "p_yes_complement", "verification"), MISSING)
    scores = replace(label.scores, **gone, quality=quality, area_ratio=area)
    status, reason = decide(scores, "absent" if absent else "mask", False, config)
    human = label.sample.human_mask
    return replace(
        label,
        mask=mask,
        proposals=() if absent else given or (drawn,),
        scores=scores,
        status=status,
        reason=reason,
        lineage=Lineage(label.lineage.recipe, (*label.lineage.experts, (CHOOSER, name))),
        human_iou=MISSING if human is None else rle.iou(mask, human),
    )
