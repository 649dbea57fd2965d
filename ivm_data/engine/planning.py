"""Which records of a manifest a run labels: those that it names for the first time, or those asked for again.

A manifest of which nothing is known is cut into its plain parts. Of an edited one, the records that were taken in
before are left out of their parts, and a part that has no others does not exist for the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_data.engine.guard import ORDER
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.inputs import Ended, EndedRecords, KnownRecords, State, ended
from storage.records import REASONS

STAGE = "STAGE:"


@dataclass(frozen=True)
class Chosen:
    """The parts of a run.

    Attributes:
        pairs: records of the manifest.
        known: of them those that are labeled already.
    """

    parts: tuple[ManifestPart, ...]
    pairs: int
    known: int


def choose(plan: ManifestPlan, known: KnownRecords, has: Callable[[ManifestPart], bool]) -> Chosen:
    """The parts with records that are not known, and plain parts that are committed.

    Args:
        has: whether a part is committed, here or elsewhere.
    """
    state_N = known.states(plan.record_N)
    state_N[(state_N == State.DUPLICATE) & plan.repeat_N] = State.KNOWN
    parts: list[ManifestPart] = []
    new = 0
    for part in plan.parts:
        state_P = state_N[part.first : part.first + part.records]
        committed = has(part)
        open_P = state_P == State.STALE if committed else state_P != State.KNOWN
        new += int(open_P.sum())
        if committed:
            parts.append(part)
        if open_P.any():
            whole = open_P.all() and not committed
            parts.append(part if whole else part.only(np.flatnonzero(open_P).tolist()))
    return Chosen(tuple(parts), plan.pairs, plan.pairs - new)


def choose_again(plan: ManifestPlan, data: DataSet, recipe: str, again: Sequence[str]) -> Chosen:
    """The records whose outcome has one of some reasons, or is a rejection by one of some stages.

    Of these the ones that were labeled least often: so a run that was killed goes on where it stopped, and the same
    asked again after its end labels them once more.

    Args:
        again: reason codes, and stages as "STAGE:NAME".

    Raises:
        ConfigError: no such reason or stage.
    """
    reasons = [name for name in again if not name.startswith(STAGE)]
    stages = [name.removeprefix(STAGE) for name in again if name.startswith(STAGE)]
    _check(data, recipe, reasons, stages)
    found = ended(data, recipe, reasons, stages)
    chosen = list(_found(plan, found))
    attempt = min((outcome.attempt for _, _, outcome in chosen), default=0)
    of_part: dict[int, list[tuple[int, Ended]]] = {}
    for index, position, outcome in chosen:
        if outcome.attempt == attempt:
            of_part.setdefault(index, []).append((position, outcome))
    parts = tuple(_again(plan.parts[index], records, attempt + 1) for index, records in of_part.items())
    return Chosen(parts, plan.pairs, plan.pairs - sum(part.records for part in parts))


def _found(plan: ManifestPlan, found: EndedRecords) -> Iterator[tuple[int, int, Ended]]:
    """(part, position in it, outcome) of each record that ended so; a pair that is named twice once."""
    seen: set[str] = set()
    for index, part in enumerate(plan.parts):
        record_P = plan.record_N[part.first : part.first + part.records]
        for position, record in enumerate(record_P.tolist()):
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
