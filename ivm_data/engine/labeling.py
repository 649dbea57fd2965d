"""A manifest labeled part by part, without an orchestrator: what the flows schedule and `ivm label` runs in a row."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ivm_data.engine.guard import DEFAULT_GUARD, BrokenStageError, GuardConfig, find, guarded, is_suspect
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.pipeline import Pipeline
from ivm_data.experts.common.prefetch import ahead
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_data.sources.fetch import FetchConfig
from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.manifest_parts import ManifestPart
from storage.errors import ConfigError, IvmError
from storage.recipes import write_recipe
from storage.records import Label, Lineage, PartResult, Rejection, Sample
from storage.remote import committed, push, push_part
from storage.shards import commit_part, is_committed

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelingRun:
    """A planned run: what will be labeled, with what, into where.

    Attributes:
        lineage: the recipe's hash and what every label says of its experts.
        image_root: folder that image paths are relative to; None means the manifest's.
        fetch: how images behind URLs are fetched; None fetches none.
        remote: URL of the data set in an object store where every part goes too; "" for none.
        elsewhere: parts that others have committed there already.
        guard: when a stage that rejects nearly everything stops the run; None where the data is known to be so.
    """

    data: Path
    parts: tuple[ManifestPart, ...]
    recipe: Recipe
    lineage: Lineage
    image_root: Path | None = None
    fetch: FetchConfig | None = None
    remote: str = ""
    elsewhere: frozenset[str] = frozenset()
    guard: GuardConfig | None = DEFAULT_GUARD

    @property
    def recipe_hash(self) -> str:
        """The name that the labels lie under."""
        return self.lineage.recipe

    def open_parts(self) -> list[ManifestPart]:
        """Parts that are not committed yet."""
        return [part for part in self.parts if not self.has(part)]

    def has(self, part: ManifestPart) -> bool:
        """Whether a part is committed, here or in the object store."""
        return part.name in self.elsewhere or is_committed(self.data, self.recipe_hash, part.name)


NAMED = 3
"""Parts that are named of those that failed for the same reason."""


class PartsFailedError(IvmError):
    """Some parts ended with an error; all others that were tried are committed."""

    def __init__(self, failed: Mapping[str, str], parts: int, untried: int = 0) -> None:
        whys: dict[str, list[str]] = {}
        for name, why in sorted(failed.items()):
            whys.setdefault(why, []).append(name)
        listed = "\n".join(f"  {_named(names)}: {why}" for why, names in whys.items())
        left = f"{untried} were not tried any more" if untried else "all others are committed"
        super().__init__(
            f"{len(failed)} of {parts} parts failed, {left}:\n{listed}\n"
            "Run the same again: it labels only what is not committed."
        )


def _named(parts: Sequence[str]) -> str:
    more = len(parts) - NAMED
    return ", ".join(parts[:NAMED]) + (f" and {more} more" if more > 0 else "")


def prepare(
    manifest: Path,
    data: Path,
    recipe: Recipe,
    part_size: int,
    image_root: Path | None = None,
    *,
    fetch: FetchConfig | None = None,
    remote: str = "",
    guard: GuardConfig | None = DEFAULT_GUARD,
) -> LabelingRun:
    """Load the experts, plan the parts and write down the recipe: whatever is wrong with either shows up here.

    With an object store, what earlier runs left here is sent there first.

    Raises:
        ConfigError, WeightsError: before any work starts.
        TransientError: the object store does not answer.
    """
    if image_root is not None and not image_root.is_dir():
        raise ConfigError(
            f"image root '{image_root}' is not a folder; give the folder that image paths are relative to"
        )
    parts = tuple(plan(manifest, part_size))
    pipeline = Pipeline(recipe)
    data.mkdir(parents=True, exist_ok=True)
    lineage = {"experts": [{"role": role, "name": name} for role, name in pipeline.lineage.experts]}
    write_recipe(data, pipeline.lineage.recipe, recipe.to_dict() | lineage)
    elsewhere: frozenset[str] = frozenset()
    if remote:
        push(data, remote)
        elsewhere = frozenset(committed(remote, pipeline.lineage.recipe))
    return LabelingRun(data, parts, recipe, pipeline.lineage, image_root, fetch, remote, elsewhere, guard)


def label_part(run: LabelingRun, part: ManifestPart) -> PartSummary:
    """Label and commit one part; a committed part is skipped. Calling it again after any crash is safe.

    Raises:
        BrokenStageError: one stage rejects nearly all of it, and nothing is committed.
    """
    outcome = try_part(run, part)
    if isinstance(outcome, PartSummary):
        return outcome
    if run.guard is not None and (finding := find([outcome.result], run.guard)):
        raise BrokenStageError(str(finding))
    return commit(run, outcome.result)


def try_part(run: LabelingRun, part: ManifestPart) -> PartSummary | Suspect:
    """Label one part, and commit it unless it is in doubt; `guarded` decides about one that is."""
    return _label(run, part, read(run, part))


def label_manifest(
    run: LabelingRun, progress: Callable[[PartSummary], None] = lambda summary: None
) -> list[PartSummary]:
    """Every part in a row; a thread reads the next one.

    Raises:
        PartsFailedError: a stage rejects nearly everything; parts that went well before are committed.
    """
    with closing(ahead(partial(read, run), run.parts, depth=1)) as contents:
        outcomes = (_label(run, part, items) for part, items in zip(run.parts, contents, strict=True))
        return collect(run, guarded(outcomes, run.guard, partial(commit, run)), progress)


def collect(
    run: LabelingRun, outcomes: Iterable[PartOutcome], progress: Callable[[PartSummary], None]
) -> list[PartSummary]:
    """The summaries of a run's parts, each told as it comes.

    Raises:
        PartsFailedError: after the last, with all parts that failed.
    """
    summaries, failed = [], {}
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failed[outcome.part] = outcome.why
        else:
            summaries.append(outcome)
            progress(outcome)
    if failed:
        raise PartsFailedError(failed, len(run.parts), len(run.parts) - len(summaries) - len(failed))
    return summaries


def read(run: LabelingRun, part: ManifestPart) -> list[Sample | Rejection] | None:
    """What a part holds; None where it is committed."""
    return None if run.has(part) else read_part(part, run.image_root, fetch=run.fetch)


def skipped(part: ManifestPart) -> PartSummary:
    """What is told of a part that was committed before."""
    return PartSummary(part.name, part.records, False, Counter())


def commit(run: LabelingRun, result: PartResult) -> PartSummary:
    """Commit a labeled part here, then in the object store, if there is one."""
    committed_here = commit_part(run.data, result)
    if run.remote:
        push_part(run.data, run.remote, committed_here.light)
    summary = _summary(result, committed_here.fresh)
    _LOG.info("committed part %s: %d inputs in %.1f s", summary.part, summary.rows, summary.seconds)
    return summary


def commit_unless_suspect(run: LabelingRun, result: PartResult) -> PartSummary | Suspect:
    """Commit a labeled part, unless one stage rejected nearly all of it."""
    return Suspect(result) if is_suspect(result, run.guard) else commit(run, result)


def _label(run: LabelingRun, part: ManifestPart, items: Sequence[Sample | Rejection] | None) -> PartSummary | Suspect:
    return skipped(part) if items is None else commit_unless_suspect(run, Pipeline(run.recipe).run(part.name, items))


def _summary(result: PartResult, fresh: bool) -> PartSummary:
    labels = [outcome for outcome in result.outcomes if isinstance(outcome, Label)]
    rejections = [outcome for outcome in result.outcomes if not isinstance(outcome, Label)]
    statuses = Counter(label.status.value for label in labels) + Counter(f"failed: {r.reason}" for r in rejections)
    seconds = sum(timing.seconds for timing in result.timings)
    tokens = sum(timing.prompt_tokens + timing.completion_tokens for timing in result.timings)
    return PartSummary(result.part, len(result.outcomes), fresh, statuses, seconds, tokens)
