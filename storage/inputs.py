"""What is known of the records of manifests and of the pairs that they name, over all committed parts of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage import layout
from storage.counting import ATTEMPT, scratch
from storage.records import HUMAN, OF_OTHER_RECORDS, UNKNOWN, UNSTATED, Box, Rle

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from storage.data_set import DataSet


class State(IntEnum):
    """What is known of a record.

    NEW: nothing. STALE: it was taken in, and its pair's outcome is of a record that says something else of it, or is
    gone. DUPLICATE: it was taken in as one that repeats or
    contradicts another record. KNOWN: its pair has its outcome.
    """

    NEW = 0
    STALE = 1
    DUPLICATE = 2
    KNOWN = 3


def _none(kind: str) -> np.ndarray:
    return np.empty(0, kind)


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """The P pairs that have an outcome, in the order of their ids.

    Memory: 34 bytes a pair.

    Attributes:
        id_P: sample ids, 16 bytes each; see `digests`.
        facts_P, words_P: as of `Input`, of the record that the outcome was made from.
        attempt_P: of the part that holds the outcome.
    """

    id_P: np.ndarray = field(default_factory=lambda: _none("S16"))
    facts_P: np.ndarray = field(default_factory=lambda: _none("u8"))
    words_P: np.ndarray = field(default_factory=lambda: _none("u8"))
    attempt_P: np.ndarray = field(default_factory=lambda: _none("i2"))

    def find(self, sample_id: str) -> int | None:
        """Index of a pair."""
        wanted = digests([sample_id])
        at = int(np.searchsorted(self.id_P, wanted)[0])
        return at if at < len(self.id_P) and self.id_P[at] == wanted[0] else None

    def says_the_same(self, at: int, facts: int, words: int) -> bool:
        """Whether a record says of a pair what its outcome was made from; what nobody knows or states is the same."""
        return self.facts_P[at] in (UNKNOWN, facts) and (
            words in (UNSTATED, UNKNOWN) or self.words_P[at] in (UNKNOWN, words)
        )


@dataclass(frozen=True, eq=False)
class KnownRecords:
    """The R records that were taken in, in order.

    Attributes:
        record_R: hashes, 16 bytes each.
        state_R: a `State` each.
    """

    record_R: np.ndarray = field(default_factory=lambda: _none("S16"))
    state_R: np.ndarray = field(default_factory=lambda: _none("u1"))

    def states(self, record_N: np.ndarray) -> np.ndarray:
        """The `State` of each of N records, uint8."""
        if not len(self.record_R):
            return np.zeros(len(record_N), np.uint8)
        at_N = np.minimum(np.searchsorted(self.record_R, record_N), len(self.record_R) - 1)
        return np.where(self.record_R[at_N] == record_N, self.state_R[at_N], np.uint8(State.NEW))


_COUNTED = f"""
    CREATE TABLE counted AS
    SELECT part, sample_id, {ATTEMPT} AS attempt
    FROM read_parquet($lights) ANTI JOIN superseded USING (recipe, part, position)"""
_EMPTY_LEDGER = """
    CREATE TABLE ledger (
        part VARCHAR, record BLOB, sample_id VARCHAR, facts UBIGINT, words UBIGINT, duplicate BOOLEAN
    )"""
_LEDGER = """
    INSERT INTO ledger
    SELECT part, record, sample_id, facts, words, duplicate
    FROM read_parquet($inputs) SEMI JOIN committed USING (part)"""
_PAIRS = """
    CREATE TABLE pairs AS
    SELECT c.sample_id, c.attempt, coalesce(l.facts, o.facts, 0)::UBIGINT AS facts, coalesce(l.words, 0) AS words
    FROM counted AS c
    LEFT JOIN (FROM ledger WHERE NOT duplicate) AS l USING (part, sample_id)
    LEFT JOIN older AS o USING (part, sample_id)"""
_RECORDS = f"""
    SELECT
        l.record,
        CASE
            WHEN bool_or(NOT duplicate AND p.sample_id IS NOT NULL
                AND (p.facts IN ({UNKNOWN}, l.facts) OR l.facts = {UNKNOWN})
                AND (l.words IN ({UNKNOWN}, {UNSTATED}) OR p.words IN ({UNKNOWN}, l.words))) THEN {State.KNOWN:d}
            WHEN bool_or(duplicate) THEN {State.DUPLICATE:d}
            ELSE {State.STALE:d}
        END AS state
    FROM ledger AS l LEFT JOIN pairs AS p USING (sample_id)
    GROUP BY l.record"""
_OLDER = f"""
    SELECT part, sample_id, l.held_out, h.height, h.width, h.human_mask,
        [c.box FOR c IN l.candidates IF c.expert = '{HUMAN}'] AS boxes
    FROM read_parquet($lights) AS l JOIN read_parquet($heavies) AS h USING (part, position, sample_id)
    WHERE part NOT IN (SELECT part FROM ledger)"""
_OLDER_ROWS = pa.schema([("part", pa.string()), ("sample_id", pa.string()), ("facts", pa.uint64())])


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a recipe at a moment."""

    records: KnownRecords = field(default_factory=KnownRecords)
    pairs: KnownPairs = field(default_factory=KnownPairs)


def known(data: DataSet, recipe: str) -> Known:
    """Read it, in one pass over narrow columns; of parts that were committed without inputs the human masks too.

    Raises:
        ShardError: a file turned out to be damaged.
    """
    with _tables(data, recipe) as connection:
        if connection is None:
            return Known()
        _add_older(connection, data, recipe)
        connection.execute(_PAIRS)
        pairs = connection.sql("SELECT sample_id, facts, words, attempt FROM pairs").to_arrow_table()
        records = connection.sql(_RECORDS).to_arrow_table()
    return Known(_known_records(records), _known_pairs(pairs))


def samples_of(data: DataSet, recipe: str, record_N: np.ndarray) -> list[str]:
    """The sample ids that N records stand for, each once."""
    with _tables(data, recipe) as connection:
        if connection is None:
            return []
        connection.register("wanted", pa.table({"record": _blobs(record_N)}))
        found = connection.execute("SELECT DISTINCT sample_id FROM ledger SEMI JOIN wanted USING (record)")
        return [sample_id for (sample_id,) in found.fetchall()]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a record ended as.

    Attributes:
        attempt: of the part that holds the outcome.
        sampled: a sample could be made of it.
    """

    sample_id: str
    attempt: int
    sampled: bool


@dataclass(frozen=True)
class EndedRecords:
    """Records by what they ended as: by their hash, and by part and position in parts that were committed without."""

    by_record: dict[bytes, Ended]
    by_place: dict[tuple[str, int], Ended]


_ENDED = f"""
    SELECT part, position, sample_id, {ATTEMPT} AS attempt, outcome = 'label' OR stage <> 'ingest' AS sampled
    FROM read_parquet($lights) ANTI JOIN superseded USING (recipe, part, position)
    WHERE (list_contains($reasons, reason) OR list_contains($stages, stage)) AND NOT list_contains($others, reason)"""


def ended(data: DataSet, recipe: str, reasons: Sequence[str], stages: Sequence[str]) -> EndedRecords:
    """The records whose outcome has one of the reasons, or was rejected by one of the stages."""
    with _tables(data, recipe) as connection:
        if connection is None:
            return EndedRecords({}, {})
        options = {"lights": _lights(data, recipe), "reasons": list(reasons), "stages": list(stages)}
        options["others"] = sorted(OF_OTHER_RECORDS)
        connection.execute(f"CREATE TABLE ended AS {_ENDED}", options)
        by_place = connection.execute("SELECT part, position, sample_id, attempt, sampled FROM ended").fetchall()
        by_record = connection.execute(
            "SELECT record, sample_id, attempt, sampled FROM ledger JOIN ended USING (sample_id) WHERE NOT duplicate"
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


def facts(human_mask: Rle | None, human_boxes: Sequence[Box], held_out: bool) -> int:
    """`Input.facts` of a sample."""
    mask = human_mask and (human_mask.height, human_mask.width, human_mask.counts)
    boxes = [(float(box.x0), float(box.y0), float(box.x1), float(box.y1)) for box in human_boxes]
    return _hash(repr((mask, boxes, bool(held_out))))


def words(source: str, kind: str, difficulty: str) -> int:
    """`Input.words` of a record; empty where it states none."""
    return _hash("\x00".join((source, kind, difficulty))) if source or kind or difficulty else UNSTATED


def digests(sample_ids: Iterable[str]) -> np.ndarray:
    """Sample ids as 16 bytes each: their 32 hex digits; a hash of whatever else is one."""
    found = [_digest(sample_id) for sample_id in sample_ids]
    return np.array(found, "S16") if found else _none("S16")


def _digest(sample_id: str) -> bytes:
    try:
        digest = bytes.fromhex(sample_id)
    except ValueError:
        digest = b""
    return digest if len(digest) == 16 else hashlib.blake2b(sample_id.encode(), digest_size=16).digest()


def _hash(text: str) -> int:
    """64 bits that are neither `UNKNOWN` nor `UNSTATED`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) | 2


def _known_pairs(table: pa.Table) -> KnownPairs:
    id_P = _hex_digests(table["sample_id"])
    order_P = np.argsort(id_P, kind="stable")
    columns = [table[name].to_numpy()[order_P] for name in ("facts", "words", "attempt")]
    return KnownPairs(id_P[order_P], columns[0], columns[1], columns[2].astype("i2"))


def _hex_digests(sample_ids: pa.ChunkedArray) -> np.ndarray:
    return digests(sample_ids.to_pylist())


def _known_records(table: pa.Table) -> KnownRecords:
    record_R = _bytes(table["record"])
    order_R = np.argsort(record_R, kind="stable")
    return KnownRecords(record_R[order_R], table["state"].to_numpy().astype(np.uint8)[order_R])


def _bytes(records: pa.ChunkedArray) -> np.ndarray:
    """Hashes of 16 bytes as one array."""
    return np.array(records.to_pylist(), "S16") if len(records) else _none("S16")


def _blobs(record_N: np.ndarray) -> pa.Array:
    """The same as an Arrow column; NumPy leaves out zeros at the end of bytes."""
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(record_N), [None, pa.py_buffer(np.ascontiguousarray(record_N).tobytes())]
    )
    return fixed.cast(pa.binary())


def _lights(data: DataSet, recipe: str) -> list[str]:
    return [str(path) for path in data.by_kind["light"] if path.parent.name == recipe]
