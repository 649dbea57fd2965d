"""What cleaning keeps out of use: decisions are appended, and undoing one is one more decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from storage import layout, schema, snapshots
from storage.errors import ShardError
from storage.files import alone_in
from storage.records import Decision, Scope
from storage.shards import write_decisions
from storage.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class FoundLabel:
    """A label that a rule is about, and what the rule saw."""

    recipe: str
    sample_id: str
    reason: str


def decide(
    data: Path,
    rule: str,
    scope: Scope,
    verdict: Literal["exclude", "include"],
    found: Sequence[FoundLabel],
    *,
    parameters: Mapping[str, Any],
    who: str,
) -> Path | None:
    """Append one decision about each label, all of one moment that is later than the rule's decisions so far."""
    if not found:
        return None
    lock = data / "decisions" / layout.name(rule) / ".lock"
    with alone_in(lock):
        at = _next_moment(data, rule)
        text = json.dumps(dict(parameters), sort_keys=True)
        facts = [Decision(f.sample_id, f.recipe, rule, scope, verdict, f.reason, text, who, at) for f in found]
        digest = hashlib.blake2b("".join(f.sample_id for f in found).encode(), digest_size=4).hexdigest()
        return write_decisions(data, rule, f"{at.replace(':', '-')}-{digest}", facts)


def standing(data: Path, snapshot: Snapshot | None = None) -> list[Decision]:
    """The decisions that count, now or in a snapshot: for each rule and label the latest one.

    Raises:
        ShardError: a file of decisions cannot be used; an answer without it would mislead.
    """
    paths = snapshots.trusted(data, "decisions", snapshot)
    rows = [row for path in paths for row in pq.read_table(path, schema=schema.DECISIONS).to_pylist()]
    latest: dict[tuple[str, str, str], Decision] = {}
    for row in sorted(rows, key=lambda row: row["decided_at"]):
        latest[row["rule"], row["recipe"], row["sample_id"]] = Decision(**row)
    return list(latest.values())


def excluded(data: Path, recipe: str | None = None, snapshot: Snapshot | None = None) -> dict[str, Scope]:
    """Sample id -> scope of the labels that some rule excludes; "sample" where any of the rules says so."""
    scopes: dict[str, Scope] = {}
    for decision in standing(data, snapshot):
        if decision.verdict == "exclude" and recipe in (None, decision.recipe):
            wider = scopes.get(decision.sample_id) == "sample"
            scopes[decision.sample_id] = "sample" if wider else decision.scope
    return scopes


def _next_moment(data: Path, rule: str) -> str:
    """Now, or just after the rule's latest decision where this clock is behind the one that wrote it."""
    paths = (data / "decisions" / rule).glob("*.parquet")
    try:
        times = [
            time for path in paths for time in pq.read_table(path, columns=["decided_at"])["decided_at"].to_pylist()
        ]
    except (OSError, ValueError) as error:
        raise ShardError(f"a file of decisions of rule {rule!r} cannot be read ({error}); move it away") from error
    now = datetime.now(UTC)
    after = [datetime.fromisoformat(max(times)) + timedelta(microseconds=1)] if times else []
    return max([now, *after]).isoformat(timespec="microseconds").replace("+00:00", "Z")
