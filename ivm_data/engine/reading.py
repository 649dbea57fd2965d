"""A part that was read -> what of it is labeled: pairs that have an outcome already are taken in, not labeled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ivm_data.sources.manifest import ManifestRecord
from ivm_data.sources.manifest_parts import ManifestPart
from storage.inputs import KnownPairs, facts
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


def sift(part: ManifestPart, records: Sequence[ManifestRecord], pairs: KnownPairs) -> Reading:
    """Keep what is new, what is asked for again, and pairs of which the manifest says something else by now."""
    items: list[Sample | Rejection] = []
    inputs: list[Input] = []
    attempt = part.attempt
    before = part.before or ("",) * len(records)
    for record, was in zip(records, before, strict=True):
        entry = _input(record, was)
        at = pairs.find(entry.sample_id)
        again = part.attempt > 0 and not was
        inputs.append(entry)
        if at is None or again or isinstance(record.item, Rejection):
            items.append(record.item)
        elif not pairs.says_the_same(at, entry.facts, entry.words):
            items.append(record.item)
            attempt = max(attempt, int(pairs.attempt_P[at]) + 1)
    return Reading(f"{part.name}@{attempt}" if attempt else part.name, tuple(items), tuple(inputs))


def _input(record: ManifestRecord, was: str) -> Input:
    item = record.item
    if isinstance(item, Rejection):
        replaces = was if was != item.sample_id else ""
        return Input(record.record, item.sample_id, UNKNOWN, record.words, item.reason in OF_OTHER_RECORDS, replaces)
    said = facts(item.human_mask, item.human_boxes, item.held_out)
    return Input(record.record, item.id, said, record.words, replaces=was)
