"""What is known of the records of manifests and of the pairs that they name; `storage.ledger` reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from storage.records import UNKNOWN, UNSTATED, Box, Moment, Rle, Sample

NOTHING = 1
"""`KnownPairs.facts_P` of a pair that has no outcome any more, since records contradict each other about it."""


class State(IntEnum):
    """What is known of a record, in a manifest.

    NEW: nothing. STALE: it was taken in, and its pair's outcome is of a record that says something else of it, or is
    gone. TWIN: the same, and that other record is in the manifest too. DUPLICATE: it was taken in as one that repeats
    or contradicts another record. CONTESTED: it contradicted another one that is not in the manifest any more.
    SETTLED: a record of the manifest counts instead of it, or contradicts it. KNOWN: its pair has its outcome.
    """

    NEW = 0
    STALE = 1
    DUPLICATE = 2
    KNOWN = 3
    TWIN = 4
    CONTESTED = 5
    SETTLED = 6


def _none(kind: str) -> np.ndarray:
    return np.empty(0, kind)


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """The P pairs that have an outcome, or had one, in the order of their ids.

    Memory: 43 bytes a pair.

    Attributes:
        id_P: sample ids, 16 bytes each; see `digests`.
        facts_P, words_P: as of `Input`, of the record that the outcome was made from; `NOTHING` where none counts.
        attempt_P: of the part that holds the outcome, or that took it back.
        here_P: a record of the manifest stands for the outcome, bool.
        held_P: hash of the image's name where the outcome is a held-out label, 0 elsewhere; see `held`.
        contested: id -> records of the manifest that contradict each other about it, with the facts of each.
    """

    id_P: np.ndarray = field(default_factory=lambda: _none("S16"))
    facts_P: np.ndarray = field(default_factory=lambda: _none("u8"))
    words_P: np.ndarray = field(default_factory=lambda: _none("u8"))
    attempt_P: np.ndarray = field(default_factory=lambda: _none("i2"))
    here_P: np.ndarray = field(default_factory=lambda: _none("?"))
    held_P: np.ndarray = field(default_factory=lambda: _none("u8"))
    contested: Mapping[str, Mapping[bytes, int]] = field(default_factory=dict)

    def find(self, sample_id: str) -> int | None:
        """Index of a pair."""
        wanted = digests([sample_id])
        at = int(np.searchsorted(self.id_P, wanted)[0])
        return at if at < len(self.id_P) and self.id_P[at] == wanted[0] else None

    def next_attempt(self, sample_id: str) -> int:
        """Number of the attempt after the one that a pair has its outcome from; 0 for an unknown one."""
        at = self.find(sample_id) if sample_id else None
        return 0 if at is None else int(self.attempt_P[at]) + 1

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
        ended_R: sample id of the outcome that counts for the record alone or for its pair, 16 bytes; empty for none.
    """

    record_R: np.ndarray = field(default_factory=lambda: _none("S16"))
    state_R: np.ndarray = field(default_factory=lambda: _none("u1"))
    ended_R: np.ndarray = field(default_factory=lambda: _none("S16"))

    def states(self, record_N: np.ndarray) -> np.ndarray:
        """The `State` of each of N records, uint8."""
        if not len(self.record_R):
            return np.zeros(len(record_N), np.uint8)
        at_N = np.minimum(np.searchsorted(self.record_R, record_N), len(self.record_R) - 1)
        return np.where(self.record_R[at_N] == record_N, self.state_R[at_N], np.uint8(State.NEW))

    def ended(self, record_N: np.ndarray) -> tuple[str, ...]:
        """The sample id of the outcome of each of N records; "" for none."""
        if not len(self.record_R):
            return ("",) * len(record_N)
        at_N = np.minimum(np.searchsorted(self.record_R, record_N), len(self.record_R) - 1)
        ended_N = np.where(self.record_R[at_N] == record_N, self.ended_R[at_N], b"")
        return tuple(ended.ljust(16, b"\x00").hex() if ended else "" for ended in ended_N.tolist())


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a recipe at a moment."""

    records: KnownRecords = field(default_factory=KnownRecords)
    pairs: KnownPairs = field(default_factory=KnownPairs)


def facts(human_mask: Rle | None, human_boxes: Sequence[Box], held_out: bool) -> int:
    """`Input.facts` of a sample that says this."""
    mask = human_mask and (human_mask.height, human_mask.width, human_mask.counts)
    boxes = [(float(box.x0), float(box.y0), float(box.x1), float(box.y1)) for box in human_boxes]
    return _hash(repr((mask, boxes, bool(held_out))))


def facts_of(sample: Sample) -> int:
    """`Input.facts` of a sample."""
    return facts(sample.human_mask, sample.human_boxes, sample.held_out)


def words(source: str, kind: str, difficulty: str, moment: Moment | None = None) -> int:
    """`Input.words` of a record; empty where it states none."""
    said = (source, kind, difficulty, *([] if moment is None else [repr(moment)]))
    return _hash("\x00".join(said)) if any(said) else UNSTATED


def held(image_uri: str) -> int:
    """`KnownPairs.held_P` of a held-out label of an image of that name."""
    return _hash(image_uri)


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
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) | 2


UNSAID, UNSAID_HELD_OUT = facts(None, (), False), facts(None, (), True)
"""`Input.facts` of records that say nothing of their targets."""
