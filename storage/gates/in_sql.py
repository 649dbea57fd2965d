"""A gate's decision as SQL over the columns of `storage.parts.schema.LIGHT`.

What a label says follows from its evidence. It says that the target is *absent* where its mask is empty (`area = 0`:
fusing rejects an empty mask, so no other label has one); that the *whole image* is needed where the request's scope
is that; and otherwise a mask. It is *incomplete* where a target has no chosen box: the column `incomplete` says so, and
for labels from before that column the boxes and the request do.
"""

from __future__ import annotations

from collections.abc import Mapping

from storage.gates import uncalibrated
from storage.gates.gate import Calibrated, Gate, Judged, Plain
from storage.gates.logistic import number
from storage.records import HUMAN, Status
from storage.request import OR

ANSWER = "CASE WHEN area = 0 THEN 'absent' WHEN scope = 'whole image' THEN 'whole image' ELSE 'mask' END"
"""What a label says."""

_PHRASE = """CASE WHEN thing."order" <> '' AND thing.noun <> '' THEN thing.noun ELSE thing.expression END"""
_FOUND = "[c.phrase FOR c IN candidates IF c.chosen AND c.role = 'target']"
_UNFOUND = f"""CASE WHEN things IS NULL THEN NOT list_has_all({_FOUND}, rewrite.phrases)
    ELSE len([t FOR t IN range(len(things)) IF things[t + 1]."of" = -1 AND NOT list_has_any(
        [{_PHRASE} FOR thing, i IN things IF i = t + 1 OR (thing."of" = t AND thing.relation = '{OR}')], {_FOUND})]) > 0
    END"""
DERIVED = f"""(area > 0 AND scope IS DISTINCT FROM 'whole image'
    AND len([c FOR c IN candidates IF c.expert = '{HUMAN}']) = 0
    AND NOT (rewrite.quantity = 'all' AND len({_FOUND}) > 0)
    AND {_UNFOUND})"""
"""Whether a label from before the column `incomplete` is."""

STATUS = {
    "ok": Status.ACCEPTED,
    "target_absent": Status.NO_TARGET,
    "whole_image": Status.WHOLE_IMAGE,
    **dict.fromkeys(("not_understood", "incomplete", "experts_disagree", "inconsistent", "uncertain"), Status.REVIEW),
    **dict.fromkeys(("no_quality", "low_quality", "area_outlier"), Status.REJECTED),
}
"""The status that each reason of a gate stands for."""


OPINIONS = "judge_opinions"
"""Relation with what judges said: recipe, part, sample_id, discriminator, d."""


def decided(gates: Mapping[str, Gate], rows: str, derive: bool = True) -> str:
    """A SELECT of all columns of some light rows, with quality, status and reason as gates decide.

    Args:
        gates: by recipe; rows of other recipes stay as they were written.
        rows: name of the relation.
        derive: there may be labels from before the column `incomplete`; without them that is left out, which is faster.
    """
    if not gates:
        return f"SELECT * FROM {rows}"
    qualities = _by_recipe(gates, "quality", {name: quality(gate) for name, gate in gates.items()})
    reasons = _by_recipe(gates, "reason", {name: reason(gate, derive) for name, gate in gates.items()})
    gated = f"outcome = 'label' AND recipe IN ({', '.join(map(_text, gates))})"
    rows, judged = _judged(gates, rows)
    statuses = " ".join(f"WHEN {_text(why)} THEN {_text(status.value)}" for why, status in STATUS.items())
    return f"""
        SELECT * EXCLUDE (gate_quality, gate_reason{judged}) REPLACE (
            gate_quality AS quality,
            gate_reason AS reason,
            CASE WHEN {gated} THEN CASE gate_reason {statuses} END ELSE status END AS status
        )
        FROM (
            SELECT *, CASE WHEN outcome = 'label' THEN {reasons} ELSE reason END AS gate_reason
            FROM (
                SELECT *, CASE WHEN outcome = 'label' THEN {qualities} ELSE quality END AS gate_quality FROM {rows}
            )
        )"""


def quality(gate: Gate) -> str:
    """The quality of a label, NULL where there is no number for it."""
    if not isinstance(gate.quality, Judged):
        return _plain(gate.quality)
    return f"coalesce(CASE WHEN isfinite(gate_judged) THEN gate_judged END, {_plain(gate.quality.otherwise)})"


def _plain(quality: Plain) -> str:
    if quality == "written":
        value = "quality"
    elif isinstance(quality, Calibrated):
        value = (
            f"CASE WHEN area = 0 THEN {quality.absent.sql()} WHEN scope = 'whole image' THEN verification "
            f"ELSE {quality.mask.sql()} END"
        )
    else:
        value = f"CASE WHEN area > 0 AND scope = 'whole image' THEN verification ELSE {uncalibrated.sql()} END"
    return f"list_transform([{value}], lambda q: CASE WHEN isfinite(q) THEN q END)[1]"


def _judged(gates: Mapping[str, Gate], rows: str) -> tuple[str, str]:
    """The rows with what their gates' judges said in `gate_judged`, and what names that column among others."""
    of = {recipe: gate.quality.judge for recipe, gate in gates.items() if isinstance(gate.quality, Judged)}
    if not of:
        return rows, ""
    judges = " OR ".join(f"(recipe = {_text(one)} AND discriminator = {_text(name)})" for one, name in of.items())
    said = f"SELECT recipe, part, sample_id, any_value(d) AS gate_judged FROM {OPINIONS} WHERE {judges} GROUP BY ALL"
    return f"(SELECT * FROM {rows} LEFT JOIN ({said}) USING (recipe, part, sample_id))", ", gate_judged"


def reason(gate: Gate, derive: bool = True) -> str:
    """The reason code of a label whose quality is in the column `gate_quality`."""
    config = gate.config
    incomplete = f"CASE WHEN incomplete IS NULL THEN {DERIVED} ELSE incomplete END" if derive else "incomplete"
    area = f"area_ratio BETWEEN {number(config.min_area_ratio)} AND {number(config.max_area_ratio)}"
    return f"""CASE
        WHEN gate_quality IS NULL THEN 'no_quality'
        WHEN gate_quality < {number(config.reject)} THEN 'low_quality'
        WHEN {ANSWER} = 'mask' AND NOT coalesce({area}, false) THEN 'area_outlier'
        WHEN understood < {number(config.min_understood)} THEN 'not_understood'
        WHEN {incomplete} THEN 'incomplete'
        WHEN agreement < {number(config.min_agreement)} THEN 'experts_disagree'
        WHEN consistency < {number(config.min_consistency)} THEN 'inconsistent'
        WHEN NOT coalesce(gate_quality >= {accept(gate)}, false) THEN 'uncertain'
        WHEN area = 0 THEN 'target_absent'
        WHEN scope = 'whole image' THEN 'whole_image'
        ELSE 'ok' END"""


def accept(gate: Gate) -> str:
    """The quality from which on a label is accepted; NULL where none is."""
    if not gate.by:
        return number(gate.config.accept)
    known = {value: at for value, at in gate.accepts.items() if at is not None}
    cases = " ".join(f"WHEN {_text(value)} THEN {number(at)}" for value, at in known.items())
    return f"CASE {ANSWER if gate.by == 'answer' else gate.by} {cases} END" if known else "NULL::DOUBLE"


def _by_recipe(gates: Mapping[str, Gate], written: str, expressions: Mapping[str, str]) -> str:
    cases = " ".join(f"WHEN {_text(recipe)} THEN {expressions[recipe]}" for recipe in gates)
    return f"CASE recipe {cases} ELSE {written} END"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
