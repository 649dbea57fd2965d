"""Frames whose mask was carried from a key frame that a person has corrected since: carried anew, and appended.

A correction is a review with a mask. The frames between the corrected frame and the key frames beside it are carried
anew from the masks that count now; the rows that come out different are committed as a part of a later attempt, beside
the old ones. Taking the correction back and carrying again brings the engine's masks back, in rows of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from ivm_data.config import build
from ivm_data.engine.later_attempts import changed, later_attempts
from ivm_data.engine.pipeline import calibration_name, make_gate
from ivm_data.engine.tracking import NO_PIXELS, carried_between
from ivm_data.experts.common.protocols import Segmenter, Tracker
from ivm_data.experts.registry import get, tracker
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_data.stages.gate import TRACKER, GateStage
from ivm_data.stages.stage import Draft
from storage.data_set import DataSet
from storage.errors import ConfigError, WeightsError
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.reading import counting
from storage.reading.reader import among
from storage.recordings import FrameLabel, recordings
from storage.records import (
    HUMAN,
    Box,
    Candidate,
    Label,
    Lineage,
    Rejection,
    Review,
    Scores,
)  # fmt: skip
from storage.tables import recipes, reviews

REVIEWER = "reviewer"
"""Role, in a label's lineage, of the person whose mask it carries: name and time of the review."""


@dataclass(frozen=True)
class Retracked:
    """What became of corrections.

    Attributes:
        corrected: frames that have a mask of a person by now.
        carried: rows that masks were carried to anew.
        changed: rows of these that came out different, and were appended.
        kept: rows between that a person has judged, and which stay as they are.
        parts: that were committed.
    """

    corrected: int
    carried: int = 0
    changed: int = 0
    kept: int = 0
    parts: tuple[str, ...] = ()


@dataclass
class _Corrections:
    """What people said of the labels of a recipe.

    Attributes:
        ever: labels that somebody gave a mask at some time.
        fixed: those of them that have one now, with the review that counts.
        judged: labels that somebody judged, and where the mask that was judged stays.
    """

    ever: set[str] = field(default_factory=set)
    fixed: dict[str, Review] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, data: DataSet) -> _Corrections:
        written = [one for one in data.reviews() if one.recipe == data.recipe]
        masks = {name: said.mask for name, said in reviews.adjudicate_all(written, data.recipe).items() if said.mask}
        counting = reviews.current(written)
        fixed = {one.sample_id: one for one in counting if one.mask and masks.get(one.sample_id) == one.mask}
        judged = {one.sample_id for one in counting if one.verdict != "unsure"}
        return cls({one.sample_id for one in written if one.mask}, fixed, judged)


def retrack(folder: Path, recipe: str | None = None, only: Iterable[str] | None = None) -> Retracked:
    """Carry anew what was carried from frames that people have corrected; what comes out the same is not written.

    Args:
        recipe: hash of the recipe; may be left out where the data set holds only one.
        only: sample ids of corrected frames; None for all.

    Raises:
        ConfigError: no labels, several recipes, or one that tracks nothing or of which nothing is kept.
        WeightsError: the tracker or the calibration is not what labeled.
    """
    began = time.perf_counter()
    with DataSet.open(folder, recipe) as data:
        said = _Corrections.of(data)
        touched = said.ever if only is None else said.ever & set(only)
        if not touched:
            return Retracked(0)
        made = _Maker.of(data)
        recordings = list(_recordings(data, touched))
        carried = [label for rows in recordings for label in _anew(data, made, said, touched, rows)]
        parts = {row.sample_id: row.part for rows in recordings for row in rows}
        new, kept = changed(data, said.judged, carried, parts)
        results = list(later_attempts(data, new, time.perf_counter() - began))
    for result in results:
        commit_part(folder, result)
    with DataSet.open(folder) as data:
        counting.remember(data)
    fixed = len(said.fixed.keys() & touched)
    return Retracked(fixed, len(carried), sum(map(len, new.values())), kept, tuple(result.part for result in results))


@dataclass(frozen=True)
class _Maker:
    """What makes labels of carried masks, as it did when they were labeled."""

    recipe: Recipe
    tracker: Tracker
    segmenter: Segmenter | None
    gate: GateStage

    @classmethod
    def of(cls, data: DataSet) -> _Maker:
        path, config = recipes.recipe_path(data.folder, data.recipe), recipes.load(data.folder, data.recipe)
        if not config.get("track", {}).get("tracker"):
            raise ConfigError(
                f"recipe {data.recipe} of '{data.folder}' carries no masks, so a correction is of its frame alone; "
                "label episodes with 'ivm label --track flow'"
            )
        lineage = Lineage(data.recipe, tuple((one["role"], one["name"]) for one in config.pop("experts")))
        recipe: Recipe = build(Recipe, config, str(path))
        assert recipe.track.tracker is not None
        carries = tracker(recipe.track.tracker)
        now = {TRACKER: carries.name, "calibration": calibration_name(recipe)}
        for role, name in lineage.experts:
            if now.get(role, name) != name:
                raise WeightsError(
                    f"the {role} of recipe {data.recipe} was {name} and is {now[role]} now; bring back what labeled"
                )
        refiner = None if recipe.track.refine is None else get(recipe.segmenter)
        return cls(recipe, carries, refiner, make_gate(recipe, lineage))


def _recordings(data: DataSet, touched: Iterable[str]) -> Iterator[list[FrameLabel]]:
    """The labels of each recording that has a corrected frame, in the order of time."""
    episodes = {
        row["episode"]
        for batch in data.light_batches(["episode"], among("sample_id", touched))
        for row in batch.to_pylist()
    }
    found = recordings(data, filter(None, episodes))
    return (rows for _, rows in sorted(found.items()))


def _anew(
    data: DataSet, made: _Maker, said: _Corrections, touched: set[str], rows: Sequence[FrameLabel]
) -> Iterator[Label | Rejection]:
    """What the frames beside the corrected ones of a recording become."""
    at = [number for number, row in enumerate(rows) if row.sample_id in touched]
    keys = [number for number, row in enumerate(rows) if row.is_key or row.sample_id in said.fixed]
    for first, last in pairwise([None, *keys, None]):
        low, high = (0 if first is None else first), (len(rows) - 1 if last is None else last)
        if any(low <= number <= high for number in at):
            yield from _between(data, made, said, rows[low : high + 1], (first is not None, last is not None))


def _between(
    data: DataSet, made: _Maker, said: _Corrections, rows: Sequence[FrameLabel], ends: tuple[bool, bool]
) -> Iterator[Label | Rejection]:
    """What rows become between two key frames, or before the first or behind the last one."""
    inner = rows[ends[0] : len(rows) - ends[1]]
    if not inner or not any(ends):
        return
    table = pa.table({name: [getattr(row, name) for row in rows] for name in ("part", "sample_id")})
    labels = {label.sample.id: label for label in data.labels_of(table)}
    order = [labels[row.sample_id] for row in rows]
    first, last = (
        _key(label, said) if is_end else None for label, is_end in zip((order[0], order[-1]), ends, strict=True)
    )
    samples = [label.sample for label in order]
    drafts, lost = carried_between(samples, (first, last), made.recipe.track, made.tracker, made.segmenter)
    yield from lost
    yield from (_by_people(outcome, said) for outcome in made.gate.run(drafts))


def _by_people(outcome: Label | Rejection, said: _Corrections) -> Label | Rejection:
    """The label, with whose masks it was carried from in its lineage."""
    if isinstance(outcome, Rejection):
        return outcome
    given = [said.fixed[name] for name in outcome.tracked_from if name in said.fixed]
    people = tuple((REVIEWER, f"{one.reviewer}@{one.reviewed_at}") for one in given)
    return replace(outcome, lineage=replace(outcome.lineage, experts=(*outcome.lineage.experts, *people)))


def _key(label: Label, said: _Corrections) -> Draft:
    """A key frame as the stages left it; with a person's mask, all that is known is what the person says."""
    drawn = said.fixed.get(label.sample.id)
    mask = label.mask if drawn is None or drawn.mask is None else drawn.mask
    absent = rle.bbox(mask) is None
    draft = Draft(
        label.sample, NO_PIXELS, label.request, label.candidates, absent, label.proposals, None if absent else mask,
        label.scores,
    )  # fmt: skip
    if drawn is None:
        return draft
    there, box = (0.0, Box(0, 0, 0, 0)) if absent else (1.0, rle.bbox(mask) or Box(0, 0, 0, 0))
    request = replace(label.request, scope="things")
    return replace(
        draft,
        request=request,
        candidates=tuple(Candidate(HUMAN, phrase, "target", box, there, chosen=True) for phrase in request.phrases),
        scores=Scores(understood=label.scores.understood, presence=there, grounding=there),
    )
