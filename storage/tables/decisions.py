"""What cleaning keeps out of use: decisions are appended, and undoing one is one more decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow.parquet as pq

from storage.parts import layout, schema
from storage.parts.files import alone_in, readable
from storage.parts.shards import write_decisions
from storage.records import Decision, Scope

if TYPE_CHECKING:
    pass


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


def read(paths: Iterable[Path]) -> list[Decision]:
    """The rows of decision files, oldest first.

    Raises:
        ShardError: a file cannot be read.
    """
    rows = []
    for path in paths:
        with readable(path):
            rows += pq.read_table(path, schema=schema.DECISIONS).to_pylist()
    return [Decision(**row) for row in sorted(rows, key=lambda row: row["decided_at"])]


def current(decisions: Iterable[Decision]) -> list[Decision]:
    """Of decisions, oldest first, those in effect: for each rule and label the latest one."""
    return list({(one.rule, one.recipe, one.sample_id): one for one in decisions}.values())


def scopes(decisions: Iterable[Decision], recipe: str = "") -> dict[str, Scope]:
    """Of decisions in effect: sample id -> scope of the labels that some rule excludes, the wider one of several.

    Args:
        recipe: only those about its labels.
    """
    found: dict[str, Scope] = {}
    for decision in decisions:
        if decision.verdict == "exclude" and recipe in ("", decision.recipe):
            wider = found.get(decision.sample_id) == "sample"
            found[decision.sample_id] = "sample" if wider else decision.scope
    return found


def _next_moment(data: Path, rule: str) -> str:
    """Now, or just after the rule's latest decision where this clock is behind the writer's."""
    times = [decision.decided_at for decision in read((data / "decisions" / rule).glob("*.parquet"))]
    now = datetime.now(UTC)
    after = [datetime.fromisoformat(max(times)) + timedelta(microseconds=1)] if times else []
    return max([now, *after]).isoformat(timespec="microseconds").replace("+00:00", "Z")
