"""A manifest labeled part by part, without an orchestrator: what the flows schedule and `ivm label` runs in a row."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

from ivm_data.engine.guard import DEFAULT_GUARD, BrokenStageError, GuardConfig, find, guarded, is_suspect
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.pipeline import Pipeline, lineage_of
from ivm_data.engine.planning import Chosen, choose, choose_again, choose_twins
from ivm_data.engine.reading import Reading, sift
from ivm_data.experts.answers.store import AnswersConfig
from ivm_data.experts.common.prefetch import ahead
from ivm_data.experts.registry import name_of
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_data.recipes.weights_here import require_weights
from ivm_data.sources.fetch import FetchConfig
from ivm_data.sources.manifest import plan_records, read_records
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from storage.data_set import DataSet
from storage.errors import ConfigError, IvmError, IvmWarning
from storage.inputs import Known, KnownPairs
from storage.ledger import known
from storage.parts.shards import commit_part, committed_parts, is_committed
from storage.reading import counting
from storage.records import Label, Lineage, PartResult, Rejection
from storage.tables.recipes import write_recipe
from storage.upkeep.remote import committed, push, push_part, taken_in
from storage.upkeep.tidy import Tidy

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
        plan: the whole manifest; None in the processes of Ray.
        pairs: of the manifest.
        known: how many of them are labeled already, or not asked for, when the run begins.
        outcomes: what is known of all labeled pairs then.
        answers: where the answers of experts are kept; None for nowhere.
        anew: stages whose experts are asked again, whatever is kept.
        compact: the files of its parts are joined where there are many.
        lanes: batches of a part under way at once; 0 leaves it to the recipe (`lanes_of`).
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
    plan: ManifestPlan | None = field(default=None, repr=False, compare=False)
    pairs: int = 0
    known: int = 0
    outcomes: KnownPairs = field(default_factory=KnownPairs, repr=False, compare=False)
    answers: AnswersConfig | None = None
    anew: frozenset[str] = frozenset()
    compact: bool = True
    lanes: int = 0

    @property
    def recipe_hash(self) -> str:
        """The name that the labels lie under."""
        return self.lineage.recipe

    def open_parts(self) -> list[ManifestPart]:
        """Parts that are not committed yet."""
        here = committed_parts(self.data, self.recipe_hash)
        return [part for part in self.parts if part.name not in self.elsewhere and part.committed_name not in here]

    def has(self, part: ManifestPart) -> bool:
        """Whether a part is committed, here or in the object store."""
        return part.name in self.elsewhere or is_committed(self.data, self.recipe_hash, part.committed_name)


UNCALIBRATED = (
    "recipe {recipe!r} has no calibration: quality says how far its experts agree, and is no probability, so what is "
    "accepted may be wrong more often than it says. Give true masks of 200 pairs ('targets' in the manifest, or "
    "'ivm review'), then: ivm calibrate --data DIR --out calibration.json, and label with "
    "--set calibration=calibration.json"
)
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
    again: Sequence[str] = (),
    answers: AnswersConfig | None = None,
    compact: bool = True,
    lanes: int = 0,
) -> LabelingRun:
    """Plan the parts, load the experts and write down the recipe: whatever is wrong with either shows up here.

    Experts are loaded if there is a part to label; one whose answers are kept, once it is asked what is not known. With
    an object store, what earlier runs left here is sent there first.

    Args:
        again: reason codes, and stages as "STAGE:NAME"; then only pairs are labeled, again, that ended so.
        answers: where the answers of experts are kept; None for nowhere.
        compact: join the files of the parts where there are many.
        lanes: batches of a part under way at once; 0 leaves it to the recipe.

    Raises:
        ConfigError, WeightsError: before any work starts.
        TransientError: the object store does not answer.
    """
    if image_root is not None and not image_root.is_dir():
        raise ConfigError(
            f"image root '{image_root}' is not a folder; give the folder that image paths are relative to"
        )
    plan = plan_records(manifest, part_size, image_root, whole_episodes=recipe.track.tracker is not None)
    data.mkdir(parents=True, exist_ok=True)
    if remote:
        push(data, remote)
    lineage = lineage_of(recipe, name_of)
    run = LabelingRun(
        data, (), recipe, lineage, image_root, fetch, remote, guard=guard, plan=plan, answers=answers, compact=compact,
        lanes=lanes,
    )  # fmt: skip
    chosen = with_parts(run, again)
    if chosen.open_parts():
        require_weights(recipe)
        if not recipe.calibration:
            warnings.warn(UNCALIBRATED.format(recipe=recipe.name), IvmWarning, stacklevel=2)
        lineage = Pipeline(recipe, answers).lineage
        if lineage != run.lineage:  # A checkpoint was downloaded, and is named by its commit now.
            chosen = with_parts(replace(run, lineage=lineage), again)
    experts = {"experts": [{"role": role, "name": name} for role, name in chosen.lineage.experts]}
    write_recipe(data, chosen.recipe_hash, recipe.to_dict() | experts)
    return chosen


def with_parts(run: LabelingRun, again: Sequence[str]) -> LabelingRun:
    """The run with the parts that its manifest still has for it."""
    plan = run.plan
    assert plan is not None
    if run.remote:
        run = replace(run, elsewhere=frozenset(committed(run.remote, run.recipe_hash)))
    has = committed_parts(run.data, run.recipe_hash).union(run.elsewhere).__contains__
    with DataSet.open(run.data) as data:
        if again:
            chosen, there = (
                choose_again(plan, data, run.recipe_hash, again),
                known(data, run.recipe_hash, plan.record_N),
            )
        elif all(has(part.name) for part in plan.parts) and not any("@" in part for _, part in data.light_of):
            chosen, there = Chosen(tuple(plan.parts), plan.pairs, plan.pairs), Known()
        else:
            there = known(data, run.recipe_hash, plan.record_N)
            chosen = choose(plan, there.records, has)
        _check_pulled(run, chosen, {part for _, part in data.light_of}, again)
    return replace(
        run, parts=chosen.parts, pairs=chosen.pairs, known=chosen.known, outcomes=there.pairs, anew=chosen.anew
    )


def _check_pulled(run: LabelingRun, chosen: Chosen, here: Collection[str], again: Sequence[str]) -> None:
    """What is known of an edited manifest is known of the local folder: refuse to label anew what the store has.

    Raises:
        ConfigError: the folder lacks parts of the store that took in records which would be labeled now.
    """
    assert run.plan is not None
    missing = run.elsewhere - set(here)
    if not again:
        asked = [part.records_of(run.plan) for part in replace(run, parts=chosen.parts).open_parts()]
        missing -= {part.name for part in run.plan.parts}
    else:
        asked = [run.plan.record_N]
    wanted = {record.ljust(16, b"\x00") for records in asked for record in records.tolist()}
    if missing and wanted and (found := len(wanted & taken_in(run.remote, run.recipe_hash, missing))):
        raise ConfigError(
            f"{found} records of this manifest are labeled in parts of '{run.remote}' that '{run.data}' does not "
            f"have, and would be labeled once more; fetch them first with 'ivm pull {run.remote} --out {run.data}'"
        )


def absolute(run: LabelingRun) -> LabelingRun:
    """The run for other processes: with absolute paths, as they may work in another folder, and without its plan."""
    parts = tuple(replace(part, manifest=str(Path(part.manifest).resolve())) for part in run.parts)
    root = None if run.image_root is None else run.image_root.resolve()
    return replace(run, data=run.data.resolve(), parts=parts, image_root=root, plan=None)


def tidy(run: LabelingRun) -> Tidy:
    """What joins the files of a run's parts. Those of a run with an object store stay: it has them one by one."""
    return Tidy(run.data, run.recipe_hash, run.compact and not run.remote)


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
        outcomes = (_label(run, part, reading) for part, reading in zip(run.parts, contents, strict=True))
        return collect(run, guarded(outcomes, run.guard, partial(commit, run)), progress)


def collect_open(
    run: LabelingRun,
    outcomes: Generator[PartOutcome | Suspect, None, None],
    progress: Callable[[PartSummary], None],
) -> list[PartSummary]:
    """The same as `collect`, of all parts, where the open ones come from other processes, in any order.

    Args:
        outcomes: of the open parts; closed at the end, whatever happens.
    """
    done = (skipped(part) for part in run.parts if run.has(part))
    with closing(outcomes):
        return collect(run, guarded(chain(done, outcomes), run.guard, partial(commit, run)), progress)


def collect(
    run: LabelingRun, outcomes: Iterable[PartOutcome], progress: Callable[[PartSummary], None]
) -> list[PartSummary]:
    """The summaries of a run's parts, each reported as it is committed.

    Raises:
        PartsFailedError: after the last, with all parts that failed.
    """
    summaries, failed, files = [], {}, tidy(run)
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failed[outcome.part] = outcome.why
        else:
            summaries.append(outcome)
            progress(outcome)
            files.committed(outcome.fresh)
    settle(run)
    if failed:
        raise PartsFailedError(failed, len(run.parts), len(run.parts) - len(summaries) - len(failed))
    return summaries


TURNS = 3
"""Times that twins are looked for: one takes a pair's outcome back, the next ends the records that it was made from."""


def _result(run: LabelingRun, reading: Reading) -> PartResult:
    pipeline = Pipeline(run.recipe, run.answers, run.anew, run.lanes)
    return replace(pipeline.run(reading.part, reading.items), inputs=reading.inputs)


def settle(run: LabelingRun, result: Callable[[LabelingRun, Reading], PartResult] = _result) -> None:
    """Note at the end of a run which rows count, so that the data set is opened without a search for them.

    Before that, the files of many parts are joined.

    Two parts of one run may have labeled a pair each, as two records of it whose images have different names: these
    records are read again, and those that do not count are ended.

    Args:
        result: what labels a record of these that counts and has no label of its own.
    """
    tidy(run).ended()
    for _ in range(TURNS):
        with DataSet.open(run.data) as data:
            counting.remember(data)
            if run.plan is None or run.recipe_hash not in data.superseded["recipe"].to_pylist():
                return
            there = known(data, run.recipe_hash, run.plan.record_N)
        twins = choose_twins(run.plan, there.records)
        if not twins:
            return
        for part in twins:
            try:
                _end(replace(run, outcomes=there.pairs), part, result)
            except IvmError as error:
                _LOG.warning("part %s waits for the next run: %s", part.name, error)


def _end(run: LabelingRun, part: ManifestPart, result: Callable[[LabelingRun, Reading], PartResult]) -> None:
    reading = read(run, part)
    if reading is not None:
        rejections = tuple(item for item in reading.items if isinstance(item, Rejection))
        whole = len(rejections) == len(reading.items)
        ended = PartResult(reading.part, run.recipe_hash, rejections, inputs=reading.inputs)
        commit(run, ended if whole else result(run, reading))


def read(run: LabelingRun, part: ManifestPart) -> Reading | None:
    """What a part holds that is to be labeled; None where it is committed."""
    if run.has(part):
        return None
    reading = sift(part, read_records(part, run.image_root, fetch=run.fetch), run.outcomes)
    return None if is_committed(run.data, run.recipe_hash, reading.part) else reading


def skipped(part: ManifestPart) -> PartSummary:
    """The summary of a part that was committed before."""
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


def _label(run: LabelingRun, part: ManifestPart, reading: Reading | None) -> PartSummary | Suspect:
    return skipped(part) if reading is None else commit_unless_suspect(run, _result(run, reading))


def _summary(result: PartResult, fresh: bool) -> PartSummary:
    labels = [outcome for outcome in result.outcomes if isinstance(outcome, Label)]
    rejections = [outcome for outcome in result.outcomes if not isinstance(outcome, Label)]
    statuses = Counter(label.status.value for label in labels) + Counter(f"failed: {r.reason}" for r in rejections)
    seconds = sum(timing.seconds for timing in result.timings)
    tokens = sum(timing.prompt_tokens + timing.completion_tokens for timing in result.timings)
    read = sum(timing.answers_read for timing in result.timings)
    asked = sum(timing.answers_asked for timing in result.timings)
    rows = len(result.inputs) or len(result.outcomes)
    return PartSummary(result.part, rows, fresh, statuses, seconds, tokens, read, asked)
