"""A planned run labeled part by part, without an orchestrator: what flows schedule and `ivm label` runs in a row."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain

from ivm_data.engine.guard import BrokenStageError, find, guarded, is_suspect
from ivm_data.engine.labeling_run import LabelingRun
from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.pipeline import Pipeline
from ivm_data.engine.planning import choose_twins
from ivm_data.engine.reading import Reading, sift
from ivm_data.experts.common.prefetch import ahead
from ivm_data.sources.manifest import read_records
from ivm_data.sources.manifest_parts import ManifestPart
from storage.data_set import DataSet
from storage.errors import IvmError
from storage.ledger import known
from storage.parts.shards import commit_part, is_committed
from storage.reading import counting
from storage.records import Label, PartResult, Rejection
from storage.upkeep.remote import push_part
from storage.upkeep.tidy import Tidy

_LOG = logging.getLogger(__name__)
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
