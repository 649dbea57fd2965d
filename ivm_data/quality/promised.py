"""A gate that keeps a promise: thresholds from verdicts, for all labels or by source, kind or answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ivm_data.quality.judged import Evidence, evidence
from ivm_data.quality.promise import Promise, Wish
from storage.common.validation import refused
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.gates.gate import By, Gate


@dataclass(frozen=True)
class Promised:
    """What can be promised.

    Attributes:
        gate: with the thresholds, and the promise as a fact.
        groups: value of what the promise is by -> what holds for it; "" where it is by nothing.
        silent: sources without any verdict, of which a promise over all labels says nothing.
    """

    gate: Gate
    groups: Mapping[str, Promise]
    silent: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """What each group's promise rests on, for tables."""
        return [
            {
                "group": group or "all", "accept": p.accept, "accepted": p.accepted, "labels": p.labels,
                "coverage": p.coverage, "judged": p.judged, "wrong": p.wrong, "bound": p.bound, "missing": p.more,
            }
            for group, p in self.groups.items()
        ]  # fmt: skip

    @property
    def holds(self) -> bool:
        """Whether anything can be accepted."""
        return any(one.accept is not None for one in self.groups.values())

    @property
    def title(self) -> str:
        """What is promised."""
        fact = self.gate.promise or {}
        return f"precision {fact['precision']:g} with confidence {fact['confidence']:g}"

    @property
    def doubt(self) -> str:
        """Of which sources the promise says nothing; "" where it speaks of all."""
        silent = ", ".join(self.silent)
        return (
            f"no label of {silent} was judged: the promise says nothing of these sources; promise by source"
            if silent
            else ""
        )

    def missing(self, data: DataSet) -> str:
        """What to do so that the promise holds for every group; "" where it does."""
        return wanted(data, self.groups)


def promised(data: DataSet, gate: Gate, precision: float, confidence: float = 0.95, by: By = "") -> Promised:
    """The lowest thresholds whose promise holds, each group's and so all together with that confidence.

    Args:
        data: opened so that `gate` decides.

    Raises:
        ConfigError: a precision or confidence outside (0, 1), nothing to accept, or no verdict at all.
    """
    for name, value in (("precision", precision), ("confidence", confidence)):
        if not 0 < value < 1:
            raise refused(f"--{name}", "lie in (0, 1)", value)
    known = evidence(data, gate, by)
    if not len(known.quality_N):
        raise ConfigError(
            f"no label of '{data.folder}' could be accepted by any threshold; see: ivm gate --data {data.folder}"
        )
    several = known.groups
    wish = Wish(precision, 1 - (1 - confidence) / len(several))
    found = {group: known.promise(group, wish) for group in several}
    if not len(known.judged):
        raise ConfigError(
            f"nothing in '{data.folder}' says which labels are right: no human mask is held out, and nobody reviewed "
            f"in random order; {wanted(data, found)}"
        )
    fact = {
        "precision": precision,
        "confidence": confidence,
        "by": by,
        "groups": {g: asdict(p) for g, p in found.items()},
    }
    if by:
        decided = replace(
            gate, by=by, accepts={group: _accept(gate, one) for group, one in found.items()}, promise=fact
        )
    else:
        at = _accept(gate, found[""])
        config = gate.config if at is None else replace(gate.config, accept=at)
        decided = replace(gate, by="", accepts={}, config=config, promise=fact)
    return Promised(decided, found, _silent(data, gate, known) if not by else ())


def wanted(data: DataSet, groups: Mapping[str, Promise]) -> str:
    """What to do so that the promise holds, in words."""
    lines = []
    for group, one in groups.items():
        of = f" of {group}" if group else ""
        if one.accept is not None:
            continue
        if one.more is None:
            lines.append(f"no number of reviews would do{of}: no quality is high enough for it")
        else:
            lines.append(
                f"about {one.more} more random reviews{of} are needed: ivm review --data {data.folder} --reviewer NAME "
                f"--order random --above {one.above:g} --limit {one.more}"
            )
    return "; ".join(lines)


def sentence(gate: Gate) -> str:
    """A gate's promise in words, for reports and cards; "" where it has none."""
    if gate.promise is None:
        return ""
    told = gate.promise
    groups = told["groups"].values()
    accepted, labels, judged = (sum(group[name] for group in groups) for name in ("accepted", "labels", "judged"))
    by = f", by {told['by']}" if told["by"] else ""
    return (
        f"With confidence {told['confidence']:g}, at least {100 * told['precision']:g} % of the accepted labels are "
        f"right{by}: {accepted} of {labels} labels, {judged} of them judged by held-out human masks and reviews in "
        f"random order (gate {gate.hash})."
    )


def _accept(gate: Gate, one: Promise) -> float | None:
    return None if one.accept is None else max(one.accept, gate.config.reject)


def _silent(data: DataSet, gate: Gate, known: Evidence) -> tuple[str, ...]:
    of_source = evidence(data, gate, "source")
    seen = set(of_source.group_N[of_source.judged].tolist())
    return tuple(source for source in of_source.groups if source not in seen)
