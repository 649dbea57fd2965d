"""What a team drew in Label Studio, as reviews of the labels that `ivm export label-studio` gave it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import LeftOut, existing, reason
from ivm_data.sources.foreign.common.json_stream import stream
from ivm_data.sources.foreign.tools.label_studio import LabelStudioConfig, regions_of
from ivm_data.sources.foreign.tools.label_studio_shapes import target_of
from ivm_data.sources.human_mask import human_label
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.parts import layout
from storage.records import Rle, Verdict
from storage.tables import reviews


@dataclass
class Taken:
    """What became of the annotations of a project.

    Attributes:
        verdicts: (reviewer, verdict) -> reviews that were written.
        left_out: reason -> annotations, or tasks, that say nothing of a label.
    """

    verdicts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Opinion:
    reviewer: str
    verdict: Verdict
    mask: Rle | None
    note: str


def take_reviews(data: Path, project: Path, reviewer: str = "", recipe: str | None = None) -> Taken:
    """Append a review for each annotation of a project that was made of a data set's labels.

    An annotation with the label's own mask says "right"; with another one "wrong", and that mask is the right one; one
    that was skipped "unsure". Of a person who annotated a task twice the last annotation counts. What a person said
    before is not written again.

    Args:
        project: what the project exports as JSON.
        reviewer: whose reviews they are; "" for a name an annotator, `label-studio-` and e-mail address or number.
        recipe: hash of the recipe; may be left out where the data set holds only one.

    Raises:
        ConfigError: no such file or no JSON, no labels, or a name that cannot be a file's.
    """
    opened = DataSet.open(data, recipe)
    with Catalog(opened) as catalog:
        rows = catalog.sql("SELECT sample_id, part FROM labels WHERE recipe = $recipe", recipe=opened.recipe)
    parts = dict(zip(rows["sample_id"].to_pylist(), rows["part"].to_pylist(), strict=True))
    said = {
        (each.reviewer, each.sample_id): (each.verdict, each.mask)
        for each in reviews.current(opened.reviews())
        if each.recipe == opened.recipe
    }
    taken, config = Taken(), LabelStudioConfig(tasks=str(project))
    for node in stream(existing(str(project), "project")):
        try:
            sample_id, opinions = _opinions(node.value, opened, parts, reviewer, config)
        except ConfigError:
            raise
        except Exception as error:  # foreign values raise nearly every type; each is that task's alone
            taken.left_out[f"{node.key or 'a task'}: {reason(error)}"] += 1
            continue
        taken.left_out.update(each.kind for each in opinions if isinstance(each, LeftOut))
        latest = {each.reviewer: each for each in opinions if isinstance(each, _Opinion)}
        for each in latest.values():
            if said.get((each.reviewer, sample_id)) == (each.verdict, each.mask):
                taken.left_out["known already"] += 1
                continue
            reviews.append(data, opened.recipe, sample_id, each.reviewer, each.verdict, note=each.note, mask=each.mask)
            taken.verdicts[each.reviewer, each.verdict] += 1
    return taken


def _opinions(
    task: Any, opened: DataSet, parts: dict[str, str], reviewer: str, config: LabelStudioConfig
) -> tuple[str, list[_Opinion | LeftOut]]:
    """The sample a task is about, and what its annotations say of it."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise ConfigError(
            f"'{config.tasks}' has no tasks with annotations; export the project as JSON, not as JSON-MIN"
        )
    sample_id, recipe = str(task["data"].get("sample_id") or ""), str(task["data"].get("recipe") or "")
    if sample_id not in parts or recipe not in ("", opened.recipe):
        return sample_id, [LeftOut("task of a label that is not in this data set")]
    annotations = task.get("annotations") or []
    if not annotations:
        return sample_id, [LeftOut("task that nobody annotated")]
    label = opened.label(parts[sample_id], sample_id)
    assert label is not None
    return sample_id, [_opinion(each, task["data"], label.mask, reviewer, config) for each in annotations]


def _opinion(
    annotation: dict[str, Any], data: dict[str, Any], mask: Rle, reviewer: str, config: LabelStudioConfig
) -> _Opinion | LeftOut:
    name, note = reviewer or _annotator(annotation), f"Label Studio, annotation {annotation.get('id', '?')}"
    if annotation.get("was_cancelled") or annotation.get("skipped"):
        return _Opinion(name, "unsure", None, note)
    drawn = _mask(annotation.get("result"), data, (mask.height, mask.width), config)
    if isinstance(drawn, LeftOut):
        return drawn
    return _Opinion(name, "right", None, note) if drawn == mask else _Opinion(name, "wrong", drawn, note)


def _mask(result: Any, data: dict[str, Any], size: tuple[int, int], config: LabelStudioConfig) -> Rle | LeftOut:
    if not isinstance(result, list):
        raise ValueError(f"an annotation's 'result' must be a list, got {result!r:.60}")
    regions, _ = regions_of(result, data, config)
    targets = [target_of(region.result) for region in regions]
    if result and not targets:
        return LeftOut("annotation that marks nothing, but says something")
    if unread := next((each for each in targets if isinstance(each, LeftOut)), None):
        return unread
    found = human_label(targets, None, size, Path())
    return found.mask if found.mask is not None else LeftOut("annotation with a box and no mask")


def _annotator(annotation: dict[str, Any]) -> str:
    by = annotation.get("completed_by")
    who = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
    return layout.name(f"label-studio-{'unknown' if who is None else who}")
