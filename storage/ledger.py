"""The ledger of inputs: which record of which manifest stands for which outcome, over all committed parts of a recipe.

A pass over narrow columns of labels and inputs, in DuckDB; no image and no mask is read, but those of labels that were
committed without inputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage.inputs import (
    NOTHING,
    UNSAID,
    UNSAID_HELD_OUT,
    Known,
    KnownPairs,
    KnownRecords,
    State,
    digests,
    facts,
    held,
)
from storage.parts import layout
from storage.reading.counting import ATTEMPT, scratch
from storage.records import HUMAN, OF_OTHER_RECORDS, UNKNOWN, UNSTATED, Box, Rle

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from storage.data_set import DataSet

_COUNTED = f"""
    CREATE TABLE counted AS
    SELECT part, sample_id, {ATTEMPT} AS attempt
    FROM read_parquet($lights) ANTI JOIN superseded USING (recipe, part, position)"""
_EMPTY_LEDGER = """
    CREATE TABLE ledger (
        part VARCHAR, record BLOB, sample_id VARCHAR, facts UBIGINT, words UBIGINT, duplicate BOOLEAN, replaces VARCHAR
    )"""
_LEDGER = """
    INSERT INTO ledger
    SELECT part, record, sample_id, facts, words, duplicate, replaces
    FROM read_parquet($inputs) SEMI JOIN committed USING (part)"""
_PAIRS = """
    CREATE TABLE pairs AS
    SELECT c.sample_id, c.attempt, coalesce(l.facts, o.facts, 0)::UBIGINT AS facts, coalesce(l.words, 0) AS words
    FROM counted AS c
    LEFT JOIN (FROM ledger WHERE NOT duplicate) AS l USING (part, sample_id)
    LEFT JOIN older AS o USING (part, sample_id)"""
_HELD = """
    CREATE TABLE held AS
    SELECT part, sample_id, image_uri
    FROM read_parquet($lights) SEMI JOIN counted USING (part, sample_id)
    WHERE held_out"""
_STANDING = f"""
    CREATE TABLE matching AS
    SELECT l.record, l.sample_id
    FROM ledger AS l JOIN pairs AS p USING (sample_id)
    WHERE NOT duplicate AND (p.facts IN ({UNKNOWN}, l.facts) OR l.facts = {UNKNOWN})
        AND (l.words IN ({UNKNOWN}, {UNSTATED}) OR p.words IN ({UNKNOWN}, l.words));
    CREATE TABLE standing AS SELECT DISTINCT sample_id FROM matching SEMI JOIN manifest USING (record);
    CREATE TABLE gone AS
    SELECT replaces AS sample_id, record, facts, {ATTEMPT} AS attempt, duplicate
    FROM ledger ANTI JOIN pairs ON replaces = pairs.sample_id
    WHERE replaces <> '';
    CREATE TABLE contested AS
    SELECT
        sample_id,
        map(list(record), list(facts)) AS said,
        count(*) > 1 AND (
            bool_or(facts = {UNKNOWN})
            OR count(DISTINCT facts) FILTER (facts NOT IN ({UNSAID}, {UNSAID_HELD_OUT})) > 1
            OR bool_or(facts = {UNSAID_HELD_OUT}) AND bool_or(facts NOT IN ({UNSAID}, {UNSAID_HELD_OUT}))
        ) AS differ
    FROM (
        SELECT sample_id, record, max(facts) AS facts
        FROM gone SEMI JOIN manifest USING (record) WHERE duplicate GROUP BY ALL
    )
    GROUP BY ALL"""
"""`matching`: records that say what the outcome of their pair was made from; `standing`: pairs with one of these in the
manifest; `gone`: outcomes that were taken back; `contested`: those that the manifest contradicts itself about."""
_RECORDS = f"""
    SELECT
        l.record,
        CASE
            WHEN bool_or(m.record IS NOT NULL) THEN {State.KNOWN:d}
            WHEN bool_or(duplicate AND (s.sample_id IS NOT NULL OR h.sample_id IS NOT NULL)) THEN {State.SETTLED:d}
            WHEN bool_or(duplicate AND r.differ) THEN {State.SETTLED:d}
            WHEN bool_or(duplicate AND g.sample_id IS NOT NULL) THEN {State.CONTESTED:d}
            WHEN bool_or(duplicate AND (l.facts = {UNKNOWN} OR replaces <> '')) THEN {State.DUPLICATE:d}
            WHEN bool_or(NOT duplicate AND (s.sample_id IS NOT NULL OR c.sample_id IS NOT NULL)) THEN {State.TWIN:d}
            ELSE {State.STALE:d}
        END AS state,
        coalesce(
            max(l.sample_id) FILTER (m.record IS NOT NULL),
            max(l.sample_id) FILTER (duplicate AND (l.facts = {UNKNOWN} OR replaces <> '') AND p.sample_id IS NOT NULL),
            ''
        ) AS ended
    FROM ledger AS l
    LEFT JOIN pairs AS p USING (sample_id)
    LEFT JOIN matching AS m ON m.record = l.record AND m.sample_id = l.sample_id
    LEFT JOIN standing AS s ON s.sample_id = l.sample_id
    LEFT JOIN (SELECT DISTINCT sample_id FROM held) AS h ON h.sample_id = l.sample_id
    LEFT JOIN contested AS c ON c.sample_id = l.sample_id
    LEFT JOIN contested AS r ON r.sample_id = l.replaces
    LEFT JOIN (SELECT DISTINCT sample_id FROM gone) AS g ON g.sample_id = l.replaces
    GROUP BY l.record"""
_KNOWN_PAIRS = f"""
    SELECT p.sample_id, p.facts, p.words, p.attempt, s.sample_id IS NOT NULL AS here, coalesce(h.image_uri, '') AS held
    FROM pairs AS p LEFT JOIN standing AS s USING (sample_id) LEFT JOIN held AS h USING (sample_id)
    UNION ALL
    SELECT sample_id, {NOTHING}::UBIGINT, {UNKNOWN}::UBIGINT, max(attempt)::INTEGER, false, ''
    FROM gone GROUP BY sample_id"""
_OLDER = f"""
    SELECT part, sample_id, l.held_out, h.height, h.width, h.human_mask,
        [c.box FOR c IN l.candidates IF c.expert = '{HUMAN}'] AS boxes
    FROM read_parquet($lights) AS l JOIN read_parquet($heavies) AS h USING (part, position, sample_id)
    WHERE part NOT IN (SELECT part FROM ledger)"""
_OLDER_ROWS = pa.schema([("part", pa.string()), ("sample_id", pa.string()), ("facts", pa.uint64())])


def known(data: DataSet, recipe: str, record_N: np.ndarray) -> Known:
    """Read it, in one pass over narrow columns; of parts that were committed without inputs the human masks too.

    Args:
        record_N: hashes of the records of the manifest.

    Raises:
        ShardError: a file turned out to be damaged.
    """
    with _tables(data, recipe) as connection:
        if connection is None:
            return Known()
        _add_pairs(connection, data, recipe, record_N)
        pairs = connection.sql(_KNOWN_PAIRS).to_arrow_table()
        records = connection.sql(_RECORDS).to_arrow_table()
        contested = connection.execute("SELECT sample_id, said FROM contested").fetchall()
    return Known(_known_records(records), _known_pairs(pairs, contested))


_ENDED_AS = """
    SELECT status, stage, reason, count(*) AS inputs
    FROM outcomes
    WHERE recipe = $recipe AND (
        part IN (SELECT part FROM named_parts)
        OR sample_id IN (
            SELECT sample_id
            FROM inputs SEMI JOIN committed_parts USING (part) SEMI JOIN named_records USING (record)
            WHERE recipe = $recipe
        )
    )
    GROUP BY ALL"""


def ended_as(data: DataSet, recipe: str, record_N: np.ndarray, parts: Sequence[str]) -> pa.Table:
    """What N records, and all records of some parts, ended as: status, stage, reason, and the number of inputs.

    Raises:
        ShardError: a file of labels cannot be used.
    """
    # Imported here: it imports DuckDB.
    from storage.catalog import Catalog

    data.files("light")
    names = [part for owner, part in data.light_of if owner == recipe]
    with Catalog(data) as catalog:
        catalog.lend("named_parts", pa.table({"part": pa.array(parts, pa.string())}))
        catalog.lend("committed_parts", pa.table({"part": pa.array(names, pa.string())}))
        catalog.lend("named_records", pa.table({"record": _blobs(record_N)}))
        return catalog.sql(_ENDED_AS, recipe=recipe)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a record ended as.

    Attributes:
        attempt: of the part that holds the outcome.
        sampled: a sample could be made of it.
        stage: that rejected it; "" of a label.
    """

    sample_id: str
    attempt: int
    sampled: bool
    stage: str = ""


@dataclass(frozen=True)
class EndedRecords:
    """Records by what they ended as: by their hash, and by part and position in parts that were committed without."""

    by_record: dict[bytes, Ended]
    by_place: dict[tuple[str, int], Ended]


_ENDED = f"""
    SELECT part, position, sample_id, {ATTEMPT} AS attempt, outcome = 'label' OR stage <> 'ingest' AS sampled,
        coalesce(stage, '') AS stage
    FROM read_parquet($lights) ANTI JOIN superseded USING (recipe, part, position)
    WHERE (list_contains($reasons, reason) OR list_contains($stages, stage)) AND NOT list_contains($others, reason)"""


def ended(
    data: DataSet, recipe: str, record_N: np.ndarray, reasons: Sequence[str], stages: Sequence[str]
) -> EndedRecords:
    """The records of a manifest whose outcome has one of the reasons, or was rejected by one of the stages."""
    with _tables(data, recipe) as connection:
        if connection is None:
            return EndedRecords({}, {})
        options = {"lights": _lights(data, recipe), "reasons": list(reasons), "stages": list(stages)}
        options["others"] = sorted(OF_OTHER_RECORDS)
        connection.execute(f"CREATE TABLE ended AS {_ENDED}", options)
        by_place = connection.execute("SELECT part, position, sample_id, attempt, sampled, stage FROM ended").fetchall()
        _add_pairs(connection, data, recipe, record_N)
        by_record = connection.execute(
            "SELECT record, sample_id, attempt, sampled, stage FROM matching JOIN ended USING (sample_id)"
        ).fetchall()
    return EndedRecords(
        {record: Ended(*what) for record, *what in by_record},
        {(part, position): Ended(*what) for part, position, *what in by_place},
    )


@contextmanager
def _tables(data: DataSet, recipe: str) -> Iterator[DuckDBPyConnection | None]:
    """DuckDB with the tables `counted`, the outcomes that count, and `ledger`; None where nothing is labeled."""
    lights = _lights(data, recipe)
    if not lights:
        yield None
        return
    with scratch() as connection:
        parts = [part for owner, part in data.light_of if owner == recipe]
        connection.execute("CREATE TABLE committed AS SELECT unnest($parts) AS part", {"parts": parts})
        connection.register("superseded", data.superseded)
        connection.execute(_COUNTED, {"lights": lights})
        connection.execute(_EMPTY_LEDGER)
        if inputs := [str(path) for path in data.by_kind["inputs"] if path.parent.name == recipe]:
            connection.execute(_LEDGER, {"inputs": inputs})
        yield connection


def _add_pairs(connection: DuckDBPyConnection, data: DataSet, recipe: str, record_N: np.ndarray) -> None:
    """Make the tables `pairs`, `held`, and those of `_STANDING`."""
    _add_older(connection, data, recipe)
    connection.register("records_of_manifest", pa.table({"record": _blobs(record_N)}))
    connection.execute("CREATE TABLE manifest AS SELECT DISTINCT record FROM records_of_manifest")
    connection.execute(_PAIRS)
    connection.execute(_HELD, {"lights": _lights(data, recipe)})
    connection.execute(_STANDING)


def _add_older(connection: DuckDBPyConnection, data: DataSet, recipe: str) -> None:
    """Fill the table `older` with the facts of labels in parts that were committed without inputs."""
    connection.execute("CREATE TABLE older (part VARCHAR, sample_id VARCHAR, facts UBIGINT)")
    with_inputs = {part for (part,) in connection.execute("SELECT DISTINCT part FROM ledger").fetchall()}
    lights = {path for (owner, part), path in data.light_of.items() if owner == recipe and part not in with_inputs}
    if not lights:
        return
    files = {
        "lights": [str(path) for path in lights],
        "heavies": [str(layout.heavy_path(path)) for path in lights],
    }
    rows = connection.sql(_OLDER, params=files).to_arrow_table().to_pylist()
    connection.register("facts_of_rows", pa.Table.from_pylist([_facts_of_row(row) for row in rows], _OLDER_ROWS))
    connection.execute("INSERT INTO older FROM facts_of_rows")


def _facts_of_row(row: dict[str, Any]) -> dict[str, Any]:
    human = None if row["human_mask"] is None else Rle(row["height"], row["width"], row["human_mask"])
    boxes = [Box(**box) for box in row["boxes"]]
    return {"part": row["part"], "sample_id": row["sample_id"], "facts": facts(human, boxes, row["held_out"])}


def _known_pairs(table: pa.Table, contested: Sequence[tuple[str, dict[bytes, int]]]) -> KnownPairs:
    id_P = digests(table["sample_id"].to_pylist())
    order_P = np.argsort(id_P, kind="stable")
    facts_P, words_P, attempt_P, here_P = (
        table[name].to_numpy()[order_P] for name in ("facts", "words", "attempt", "here")
    )
    held_P = np.array([held(name) if name else 0 for name in table["held"].to_pylist()], np.uint64)[order_P]
    attempt_P, here_P = attempt_P.astype("i2"), here_P.astype(bool)
    return KnownPairs(id_P[order_P], facts_P, words_P, attempt_P, here_P, held_P, dict(contested))


def _known_records(table: pa.Table) -> KnownRecords:
    record_R = _bytes(table["record"])
    order_R = np.argsort(record_R, kind="stable")
    ended_R = np.array([bytes.fromhex(one) if _IS_ID(one) else b"" for one in table["ended"].to_pylist()], "S16")
    state_R = table["state"].to_numpy().astype(np.uint8)
    return KnownRecords(record_R[order_R], state_R[order_R], ended_R[order_R])


_IS_ID = re.compile("[0-9a-f]{32}").fullmatch


def _bytes(records: pa.ChunkedArray) -> np.ndarray:
    """Hashes of 16 bytes as one array."""
    return np.array(records.to_pylist(), "S16")


def _blobs(record_N: np.ndarray) -> pa.Array:
    """The same as an Arrow column; NumPy leaves out zeros at the end of bytes."""
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(record_N), [None, pa.py_buffer(np.ascontiguousarray(record_N).tobytes())]
    )
    return fixed.cast(pa.binary())


def _lights(data: DataSet, recipe: str) -> list[str]:
    return [str(path) for path in data.by_kind["light"] if path.parent.name == recipe]
