"""A gate's decision over Arrow tables of light rows: the same as `in_sql`, without SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage.gates import uncalibrated
from storage.gates.gate import ABSENT_FEATURES, MASK_FEATURES, Calibrated, Gate, Judged, Plain
from storage.gates.in_sql import DERIVED, STATUS
from storage.parts import schema

if TYPE_CHECKING:
    import pyarrow.compute as pc

DECIDED = ("quality", "status", "reason")
"""Columns that a gate decides."""
DECIDED_SET = frozenset(DECIDED)

_SCORES = tuple(dict.fromkeys((*MASK_FEATURES, *ABSENT_FEATURES, "verification", "understood", "quality")))
_WORDS = ("recipe", "outcome", "scope", "source", "kind", "reason", "status")
_DERIVING = ("candidates", "things", "rewrite")

EVIDENCE = ("part", "sample_id", *_WORDS, *_SCORES, "area", "incomplete", *_DERIVING)
"""Columns that a decision needs."""


def mentions(where: pc.Expression | None) -> set[str]:
    """Columns of `storage.parts.schema.LIGHT` that a condition may look at: all whose names are words of it."""
    words = set("".join(c if c.isalnum() or c == "_" else " " for c in str(where)).split())
    return words & set(schema.LIGHT.names) if where is not None else set()


def decided(rows: pa.Table, gates: Mapping[str, Gate]) -> pa.Table:
    """The rows with quality, status and reason as gates decide; those of other recipes stay as they were written.

    Args:
        rows: with the columns `EVIDENCE` as far as their file has them.
        gates: by recipe.
    """
    recipe_N = _words(rows, "recipe")
    for recipe, gate in gates.items():
        of_gate_N = (recipe_N == recipe) & (_words(rows, "outcome") == "label")
        if of_gate_N.any():
            rows = _replaced(rows, of_gate_N, gate)
    return rows


def decide(rows: pa.Table, gate: Gate) -> tuple[np.ndarray, np.ndarray]:
    """Quality of N labels, float64 (N,), NaN where there is no number for it; and their reason codes, object (N,)."""
    count, config = len(rows), gate.config
    score = {name: _numbers(rows, name) for name in (*_SCORES, "area")}
    absent_N, whole_N = score["area"] == 0, _words(rows, "scope") == "whole image"
    quality_N = _quality(gate, rows, score, absent_N, whole_N)
    answer_N = np.where(absent_N, "absent", np.where(whole_N, "whole image", "mask")).astype(object)
    low, high = config.min_area_ratio, config.max_area_ratio
    odd_N = ~((low <= score["area_ratio"]) & (score["area_ratio"] <= high))
    with np.errstate(invalid="ignore"):
        cases = {
            "no_quality": np.isnan(quality_N),
            "low_quality": quality_N < config.reject,
            "area_outlier": (answer_N == "mask") & odd_N,
            "not_understood": score["understood"] < config.min_understood,
            "incomplete": _incomplete(rows),
            "experts_disagree": score["agreement"] < config.min_agreement,
            "inconsistent": score["consistency"] < config.min_consistency,
            "uncertain": ~(quality_N >= _accept(gate, rows, answer_N)),
            "target_absent": absent_N,
            "whole_image": whole_N,
            "ok": np.ones(count, bool),
        }
    return quality_N, np.array(list(cases), object)[np.argmax(np.stack(list(cases.values())), axis=0)]


def _quality(
    gate: Gate, rows: pa.Table, score: Mapping[str, np.ndarray], absent_N: np.ndarray, whole_N: np.ndarray
) -> np.ndarray:
    if not isinstance(gate.quality, Judged):
        return _plain_quality(gate.quality, score, absent_N, whole_N)
    otherwise_N = _plain_quality(gate.quality.otherwise, score, absent_N, whole_N)
    if gate.quality.opinions is None:
        return otherwise_N
    judged_N = gate.quality.opinions.of(rows)
    return np.where(np.isfinite(judged_N), judged_N, otherwise_N)


def _plain_quality(
    quality: Plain, score: Mapping[str, np.ndarray], absent_N: np.ndarray, whole_N: np.ndarray
) -> np.ndarray:
    if quality == "written":
        quality_N = score["quality"]
    elif isinstance(quality, Calibrated):
        of_mask_N, of_absence_N = (each.probabilities(score) for each in (quality.mask, quality.absent))
        quality_N = np.where(absent_N, of_absence_N, np.where(whole_N, score["verification"], of_mask_N))
    else:
        of_mask_N = uncalibrated.qualities(score, absent_N)
        quality_N = np.where(whole_N & ~absent_N, score["verification"], of_mask_N)
    return np.where(np.isfinite(quality_N), quality_N, np.nan)


def _accept(gate: Gate, rows: pa.Table, answer_N: np.ndarray) -> np.ndarray:
    """The threshold of each label, float64 (N,); NaN where nothing is accepted."""
    if not gate.by:
        return np.full(len(rows), gate.config.accept)
    value_N = answer_N if gate.by == "answer" else _words(rows, gate.by)
    known = {value: np.nan if at is None else at for value, at in gate.accepts.items()}
    value_U, index_N = np.unique(value_N, return_inverse=True)
    return np.array([known.get(value, np.nan) for value in value_U])[index_N]


def _incomplete(rows: pa.Table) -> np.ndarray:
    if "incomplete" in rows.column_names:
        written = rows["incomplete"].combine_chunks()
        unknown_N = np.asarray(written.is_null())
        incomplete_N = np.asarray(written.fill_null(False))
    else:
        unknown_N, incomplete_N = np.ones(len(rows), bool), np.zeros(len(rows), bool)
    if unknown_N.any():
        incomplete_N = incomplete_N.copy()
        incomplete_N[unknown_N] = _derived(rows.filter(pa.array(unknown_N)))
    return incomplete_N


def _derived(rows: pa.Table) -> np.ndarray:
    # Imported here: only labels from before the column `incomplete` need it.
    import duckdb

    columns = ("area", "scope", *_DERIVING)
    empty = pa.Table.from_batches([], pa.schema([schema.LIGHT.field(name) for name in columns]).remove_metadata())
    known = rows.select([name for name in columns if name in rows.column_names])
    with duckdb.connect(":memory:", config={"autoload_known_extensions": False}) as connection:
        connection.register("columns_arrow", empty)
        connection.register("rows_arrow", known)
        connection.execute("CREATE TEMP TABLE labels AS FROM columns_arrow UNION ALL BY NAME FROM rows_arrow")
        found = connection.execute(f"SELECT coalesce({DERIVED}, false) AS incomplete FROM labels ORDER BY rowid")
        return np.asarray(found.fetchnumpy()["incomplete"], bool)


def _replaced(rows: pa.Table, of_gate_N: np.ndarray, gate: Gate) -> pa.Table:
    quality_M, reason_M = decide(rows.filter(pa.array(of_gate_N)), gate)
    new: dict[str, Any] = {
        "quality": pa.array(quality_M, pa.float64(), from_pandas=True),
        "reason": pa.array(reason_M.tolist(), pa.string()),
        "status": pa.array([STATUS[why].value for why in reason_M], pa.string()),
    }
    index = pa.array(np.where(of_gate_N, np.cumsum(of_gate_N) - 1, 0), pa.int64(), mask=~of_gate_N)
    for name, values in new.items():
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), *_column(rows, name, values.take(index), of_gate_N))
    return rows


def _column(rows: pa.Table, name: str, values: pa.Array, of_gate_N: np.ndarray) -> tuple[pa.Field, pa.ChunkedArray]:
    """The column with some values in place of those that were written."""
    import pyarrow.compute as pc

    field = rows.schema.field(name)
    encoded = pa.types.is_dictionary(field.type)
    written = rows[name].cast(field.type.value_type) if encoded else rows[name]
    column = pc.if_else(pa.chunked_array([pa.array(of_gate_N)]), pa.chunked_array([values]), written)
    return field, column.dictionary_encode() if encoded else column


def _numbers(rows: pa.Table, name: str) -> np.ndarray:
    """float64 (N,), NaN where NULL or where the file lacks the column."""
    if name not in rows.column_names:
        return np.full(len(rows), np.nan)
    return rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False) if len(rows) else np.zeros(0)


def _words(rows: pa.Table, name: str) -> np.ndarray:
    """object (N,), None where NULL or where the file lacks the column."""
    if name not in rows.column_names:
        return np.full(len(rows), None)
    column = rows[name]
    plain = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
    word_N: np.ndarray = plain.to_numpy(zero_copy_only=False)
    return word_N
