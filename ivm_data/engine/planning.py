"""Which records of a manifest a run labels: those that it names for the first time, or those asked for again.

A manifest of which nothing is known is cut into its plain parts. Of an edited one, the records that were taken in
before are left out of their parts, and a part that has no others does not exist for the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile

import numpy as np

from ivm_data.engine.guard import ORDER
from ivm_data.engine.pipeline import STAGES
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.inputs import KnownRecords, State
from storage.ledger import Ended, EndedRecords, ended
from storage.records import REASONS

STAGE = "STAGE:"


@dataclass(frozen=True)
class Chosen:
    """The parts of a run.

    Attributes:
        pairs: records of the manifest.
        known: of them those that are labeled already.
        anew: stages whose experts are asked once more, whatever they answered before.
    """

    parts: tuple[ManifestPart, ...]
    pairs: int
    known: int
    anew: frozenset[str] = frozenset()


def choose(plan: ManifestPlan, known: KnownRecords, has: Callable[[str], bool]) -> Chosen:
    """The parts with records that are not known, and plain parts that are committed.

    A record is read again where its pair's outcome is of another one that says something else, where the manifest
    contradicts it by now, and where what contradicted it is gone.

    Args:
        has: whether a part of that name is committed, here or elsewhere.
    """
    parts: list[ManifestPart] = []
    new = 0
    for part in plan.parts:
        committed = has(part.name)
        open_P = _open(plan, part, known, committed)
        new += int(open_P.sum())
        if committed:
            parts.append(part)
        if open_P.any():
            whole = open_P.all() and not committed and not any(known.ended(_records(plan, part)))
            parts.append(part if whole else _only(plan, part, known, open_P))
    return Chosen(tuple(parts), plan.pairs, plan.pairs - new)


def choose_twins(plan: ManifestPlan, known: KnownRecords) -> tuple[ManifestPart, ...]:
    """The records that were taken in, and say something else of their pair than other records of the manifest."""
    parts = []
    for part in plan.parts:
        open_P = known.states(_records(plan, part)) == State.TWIN
        if open_P.any():
            parts.append(_only(plan, part, known, open_P))
    return tuple(parts)


def _open(plan: ManifestPlan, part: ManifestPart, known: KnownRecords, committed: bool) -> np.ndarray:
    """Which of the P records of a part are to be read, bool (P,)."""
    state_P = known.states(_records(plan, part))
    repeat_P = plan.repeat_N[part.first : part.first + part.records]
    conflict_P = np.zeros(part.records, bool)
    conflict_P[list(part.conflicts)] = True
    open_P: np.ndarray = np.isin(state_P, (State.STALE, State.TWIN)) | ((state_P == State.KNOWN) & conflict_P)
    open_P |= (state_P == State.CONTESTED) & ~repeat_P
    if not committed:
        open_P |= (state_P == State.NEW) | ((state_P == State.DUPLICATE) & ~repeat_P)
    return open_P


def _only(plan: ManifestPlan, part: ManifestPart, known: KnownRecords, open_P: np.ndarray) -> ManifestPart:
    return part.only(np.flatnonzero(open_P).tolist(), known.ended(_records(plan, part)[open_P]))


def _records(plan: ManifestPlan, part: ManifestPart) -> np.ndarray:
    return plan.record_N[part.first : part.first + part.records]


def choose_again(plan: ManifestPlan, data: DataSet, recipe: str, again: Sequence[str]) -> Chosen:
    """The records whose outcome has one of some reasons, or is a rejection by one of some stages.

    Of these the ones that were labeled least often: so a run that was killed goes on where it stopped, and the same
    asked again after its end labels them once more. The first stage that rejected one of them, and those after it, ask
    anew: what ended a pair is not read again.

    Args:
        again: reason codes, and stages as "STAGE:NAME".

    Raises:
        ConfigError: no such reason or stage.
    """
    reasons = [name for name in again if not name.startswith(STAGE)]
    stages = [name.removeprefix(STAGE) for name in again if name.startswith(STAGE)]
    _check(data, recipe, reasons, stages)
    found = ended(data, recipe, plan.record_N, reasons, stages)
    chosen = list(_found(plan, found))
    attempt = min((outcome.attempt for _, _, outcome in chosen), default=0)
    of_part: dict[int, list[tuple[int, Ended]]] = {}
    for index, position, outcome in chosen:
        if outcome.attempt == attempt:
            of_part.setdefault(index, []).append((position, outcome))
    parts = tuple(_again(plan.parts[index], records, attempt + 1) for index, records in of_part.items())
    ended_by = {outcome.stage for records in of_part.values() for _, outcome in records}
    anew = frozenset(dropwhile(lambda stage: stage not in ended_by, STAGES))
    return Chosen(parts, plan.pairs, plan.pairs - sum(part.records for part in parts), anew)


def _found(plan: ManifestPlan, found: EndedRecords) -> Iterator[tuple[int, int, Ended]]:
    """(part, position in it, outcome) of each record that ended so; a pair that is named twice once."""
    seen: set[str] = set()
    for index, part in enumerate(plan.parts):
        for position, record in enumerate(_records(plan, part).tolist()):
            outcome = found.by_record.get(record.ljust(16, b"\x00")) or found.by_place.get((part.name, position))
            if outcome and outcome.sample_id not in seen:
                seen.add(outcome.sample_id)
                yield index, position, outcome


def _again(part: ManifestPart, records: Sequence[tuple[int, Ended]], attempt: int) -> ManifestPart:
    before = ["" if outcome.sampled else outcome.sample_id for _, outcome in records]
    return part.only([position for position, _ in records], before, attempt)


def _check(data: DataSet, recipe: str, reasons: Sequence[str], stages: Sequence[str]) -> None:
    for what, given, allowed, column in (("reason", reasons, REASONS, "reason"), ("stage", stages, ORDER, "stage")):
        if unknown := sorted(set(given) - set(allowed)):
            there = data.light_batches(["recipe", column])
            seen = {row[column] for batch in there for row in batch.to_pylist() if row["recipe"] == recipe}
            raise ConfigError(
                f"no {what} {', '.join(map(repr, unknown))} to label again; what occurs in '{data.folder}' is: "
                f"{', '.join(sorted(seen - {None})) or 'nothing yet'}"
            )
