"""A part that was read -> what of it is labeled: pairs that have an outcome already are taken in, not labeled again.

Two records of one manifest whose images have the same bytes and different names are twins. Within a part they were
found when it was read; here the others are: a record that says something else of its pair than the record of another
part that stands for it. As in `repeated_pairs` the held-out one comes first, then the labeled one; where they
contradict each other neither counts, and what the pair ended as is taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ivm_data.sources.manifest import ManifestRecord, contradicted
from ivm_data.sources.manifest_parts import ManifestPart
from ivm_data.sources.repeated_pairs import UNLABELED, settle
from storage.inputs import NOTHING, UNSAID, UNSAID_HELD_OUT, KnownPairs, facts, held
from storage.records import OF_OTHER_RECORDS, UNKNOWN, Input, Rejection, Sample


@dataclass(frozen=True)
class Reading:
    """What is to be labeled and committed.

    Attributes:
        part: name to commit under: `<planned name>@<attempt>` where a pair is labeled again.
        items: in the order of the manifest; samples that are to be labeled, and rejections.
        inputs: all records that were read.
    """

    part: str
    items: tuple[Sample | Rejection, ...]
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class _Taken:
    """What becomes of a record; `attempt` is the least number that its part must have."""

    item: Sample | Rejection | None
    entry: Input
    attempt: int = 0


def sift(part: ManifestPart, records: Sequence[ManifestRecord], pairs: KnownPairs) -> Reading:
    """Keep what is new, what is asked for again, and pairs of which the manifest says something else by now."""
    before = part.before or ("",) * len(records)
    taken = [
        _take(part, position, record, was, pairs)
        for position, record, was in zip(part.positions, records, before, strict=True)
    ]
    attempt = max([part.attempt, *(one.attempt for one in taken)])
    items = tuple(one.item for one in taken if one.item is not None)
    return Reading(f"{part.name}@{attempt}" if attempt else part.name, items, tuple(one.entry for one in taken))


def _take(part: ManifestPart, position: int, record: ManifestRecord, was: str, pairs: KnownPairs) -> _Taken:
    item = record.item
    if isinstance(item, Rejection):
        return _rejected(record, item, was, pairs)
    entry = Input(record.record, item.id, record.facts, record.words)
    labeled = replace(entry, replaces=was if was != item.id else "")
    at = pairs.find(item.id)
    if at is None or (part.attempt > 0 and not was):
        return _Taken(item, labeled, pairs.next_attempt(labeled.replaces))
    if pairs.says_the_same(at, entry.facts, entry.words):
        return _Taken(None, entry)
    verdict = _verdict(record.record, item, at, pairs)
    if verdict == "conflict":
        return _rejected(record, contradicted(part, position, item), was, pairs)
    if verdict == "duplicate":
        return _Taken(None, replace(entry, duplicate=True))
    return _Taken(item, labeled, max(pairs.next_attempt(item.id), pairs.next_attempt(labeled.replaces)))


def _rejected(record: ManifestRecord, item: Rejection, was: str, pairs: KnownPairs) -> _Taken:
    conflict = item.reason == "conflicting_targets"
    gone = (record.pair if conflict else "") or was
    replaces = gone if gone != item.sample_id else ""
    said = record.facts if conflict else UNKNOWN
    entry = Input(record.record, item.sample_id, said, record.words, item.reason in OF_OTHER_RECORDS, replaces)
    return _Taken(item, entry, pairs.next_attempt(replaces))


def _verdict(record: bytes, sample: Sample, at: int, pairs: KnownPairs) -> Literal["counts", "duplicate", "conflict"]:
    """What a record is that says something else of its pair than what the outcome was made from."""
    if pairs.facts_P[at] == NOTHING:
        known = [said for other, said in pairs.contested.get(sample.id, {}).items() if other != record]
        return "conflict" if UNKNOWN in known else _settle([None, *known], sample)
    if pairs.here_P[at]:
        return _settle([int(pairs.facts_P[at]), None], sample, bool(pairs.held_P[at]))
    # What no record of the manifest says any more was edited, unless a record elsewhere holds the image out.
    held_elsewhere = pairs.held_P[at] not in (0, held(sample.image_uri))
    return "duplicate" if held_elsewhere and not sample.held_out else "counts"


def _settle(
    known: Sequence[int | None], sample: Sample, held_out: bool = False
) -> Literal["counts", "duplicate", "conflict"]:
    """What a sample is beside others of its pair, of which only a hash of what they say is known.

    Args:
        known: facts of each, in order; None stands for the sample.
        held_out: the others are known to be.
    """
    as_trained, as_held = (facts(sample.human_mask, sample.human_boxes, each) for each in (False, True))
    said = UNLABELED if as_trained == UNSAID else 1
    labels = {None: said, UNKNOWN: said, as_trained: said, as_held: said, UNSAID: UNLABELED, UNSAID_HELD_OUT: UNLABELED}
    label_N = [labels.get(one, 2 + known.index(one)) for one in known]
    held_N = [sample.held_out if one is None else held_out or one in (UNSAID_HELD_OUT, as_held) for one in known]
    verdicts = settle(np.ones(len(known), np.uint64), np.array(label_N, np.uint64), np.array(held_N, bool))
    if verdicts.conflict_N.any():
        return "conflict"
    return "duplicate" if verdicts.duplicate_N[known.index(None)] else "counts"
