"""Our own manifest, JSONL or a table -> samples.

A JSONL line is an object with `image` (a reference, see `ivm_data.sources.files`) and `instruction`, and optionally
`source` (a string, or an object with `dataset`), `kind`, `difficulty`, `held_out`, `episode` with `camera`, `frame` and
`time_s` (see `ivm_data.sources.manifest_moments`), `targets` (objects as in `ivm_data.sources.human_mask`) and `mask`
(a path of a PNG, or an RLE object `{size, counts}`). A table has the columns image, instruction (or what
`manifest_columns` takes for them), and optionally source, kind, difficulty, held_out, episode, camera, frame, time_s,
mask (a path), targets (JSON). Other keys are the owner's and are not read, but one that looks like a key that bears a
label is refused. The human mask is the union of all masks given; `"targets": []` says that a person found nothing to
mask. A line with `error` is a record that an import could not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.sources import manifest_parts as parts
from ivm_data.sources import manifest_rows as rows
from ivm_data.sources.fetch import FetchConfig, Fetcher
from ivm_data.sources.files import ImageFiles
from ivm_data.sources.human_mask import human_label
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from ivm_data.sources.manifest_rows import MAX_INSTRUCTION, ManifestRow
from ivm_data.sources.repeated_pairs import UNLABELED, Identity, label_hash, pair_key, settle, short_hash
from storage.errors import ConfigError, InputError
from storage.inputs import facts_of, words
from storage.pixels.images import DEFAULT_LIMITS, ImageLimits, decode
from storage.records import UNKNOWN, Rejection, Sample, sample_id


@dataclass(frozen=True)
class _Image:
    data: bytes
    width: int
    height: int


@dataclass(frozen=True)
class ManifestRecord:
    """What was read of a record.

    Attributes:
        record: hash of it, as of `ManifestPlan.record_N`.
        words: `storage.records.Input.words` of it.
        pair: id of the sample that it names, also where others repeat or contradict it; "" where none can be made.
        facts: `Input.facts` of that sample, `UNKNOWN` where it was not read.
    """

    item: Sample | Rejection
    record: bytes
    words: int
    pair: str
    facts: int


def plan(manifest: Path, part_size: int = 64) -> list[ManifestPart]:
    """The parts of a manifest; see `plan_records`."""
    return plan_records(manifest, part_size).parts


def plan_records(
    manifest: Path, part_size: int = 64, root: Path | None = None, whole_episodes: bool = False
) -> ManifestPlan:
    """Cut a manifest into parts and find the records that repeat or contradict another one of image and instruction.

    Equal image bytes under two names are found within a part, where the bytes are at hand; in different parts
    `ivm_data.engine.reading` finds them by what is known of their pair.

    Args:
        whole_episodes: the frames of an episode's camera lie in one part, however many they are.

    Raises:
        ConfigError: no usable manifest, or a part size under 1.
    """
    parse = rows.parser(manifest)

    def identify(raw: bytes) -> Identity | None:
        try:
            row = parse(raw)
        except InputError:
            return None
        label = label_hash(row.targets, row.mask, row.ignore)
        recording = f"{row.moment.episode}\x00{row.moment.camera}".encode() if whole_episodes and row.moment else b""
        key = pair_key(row.image, row.instruction)
        return None if row.error else Identity(key, label, row.held_out, recording)

    return parts.split(manifest, part_size, identify, root)


def read_part(
    part: ManifestPart, root: Path | None = None, limits: ImageLimits = DEFAULT_LIMITS, fetch: FetchConfig | None = None
) -> list[Sample | Rejection]:
    """Read a part: one `Sample` or `Rejection` for each record, in order; see `read_records`."""
    return [record.item for record in read_records(part, root, limits, fetch)]


def read_records(
    part: ManifestPart, root: Path | None = None, limits: ImageLimits = DEFAULT_LIMITS, fetch: FetchConfig | None = None
) -> list[ManifestRecord]:
    """Read the records that are taken of a part, in order.

    Args:
        root: folder that image and mask paths are relative to and may not leave; the manifest's folder by default.
        fetch: how URLs are fetched; None fetches none.

    Raises:
        ConfigError: the manifest or the root is gone, or the manifest was changed since `plan`.
        TransientError: the file system failed while reading an image, or the network is down.
    """
    manifest = Path(part.manifest)
    root = manifest.parent if root is None else root
    if not root.is_dir():
        raise ConfigError(f"image root '{root}' is not a folder; give the folder that image paths are relative to")
    parse = rows.parser(manifest)
    raws, frame = parts.read(part), parts.frame(manifest, root)
    found = [_parsed(parse, raw) for raw in raws]
    with ImageFiles(root, Fetcher(fetch) if fetch else None) as files:
        files.prepare((row.image for row in found if isinstance(row, ManifestRow)), limits.max_bytes)
        images = _Images(files, limits)
        outcomes = [_outcome(part, at, row, images) for at, row in zip(part.positions, found, strict=True)]
        pairs = [_pair(outcome, row, images) for outcome, row in zip(outcomes, found, strict=True)]
    said = [facts_of(outcome) if isinstance(outcome, Sample) else UNKNOWN for outcome in outcomes]
    return [
        ManifestRecord(
            outcome if isinstance(outcome, Sample) else _rejection(part, position, row, outcome),
            parts.record_hash(frame, raw),
            _words(part, row),
            *named,
        )
        for position, raw, row, outcome, *named in zip(
            part.positions, raws, found, _without_twins(outcomes), pairs, said, strict=True
        )
    ]


def _words(part: ManifestPart, row: ManifestRow | InputError) -> int:
    """A source that is named like the manifest is none that the record states."""
    if isinstance(row, InputError):
        return UNKNOWN
    stated = "" if row.source == parts.dataset_name(Path(part.manifest)) else row.source
    return words(stated, row.kind, row.difficulty, row.moment)


def _parsed(parse: Callable[[bytes], ManifestRow], raw: bytes) -> ManifestRow | InputError:
    try:
        return parse(raw)
    except InputError as error:
        return error


def _outcome(part: ManifestPart, position: int, row: ManifestRow | InputError, images: _Images) -> Sample | InputError:
    """The record's sample, or why there is none."""
    if isinstance(row, InputError):
        return row
    if row.error:
        return InputError("bad_source_record", row.error)
    if position in part.duplicates:
        return InputError("duplicate", f"'{row.image}' with this instruction is another record too, which counts")
    if position in part.conflicts:
        return InputError("conflicting_targets", f"records of '{row.image}' with this instruction have other targets")
    try:
        rows.check_instruction(row.instruction)
        return _sample(row, images)
    except InputError as error:
        return error


def _pair(outcome: Sample | InputError, row: ManifestRow | InputError, images: _Images) -> str:
    if isinstance(outcome, Sample):
        return outcome.id
    if outcome.reason != "conflicting_targets" or isinstance(row, InputError):
        return ""
    try:
        return sample_id(images.get(row.image).data, row.instruction)
    except InputError:
        return ""


def _without_twins(outcomes: list[Sample | InputError]) -> list[Sample | InputError]:
    """Samples of one image and instruction, whatever the image is called, are one, or contradict each other."""
    samples = [(place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, Sample)]
    verdicts = settle(
        np.array([int(sample.id[:16], 16) or 1 for _, sample in samples], np.uint64),
        np.array([_said(sample) for _, sample in samples], np.uint64),
        np.array([sample.held_out for _, sample in samples], bool),
    )
    settled = list(outcomes)
    for (place, sample), duplicate, conflict in zip(samples, verdicts.duplicate_N, verdicts.conflict_N, strict=True):
        if duplicate:
            seen = f"'{sample.image_uri}' has the bytes of another record's image with this instruction, which counts"
            settled[place] = InputError("duplicate", seen)
        elif conflict:
            seen = f"'{sample.image_uri}' has the bytes of another record's image; with this instruction targets differ"
            settled[place] = InputError("conflicting_targets", seen)
    return settled


def _said(sample: Sample) -> int:
    """Hash of a sample's label."""
    if sample.human_mask is None and not sample.human_boxes:
        return UNLABELED
    return short_hash(repr((sample.human_mask, sample.human_boxes)).encode())


class _Images:
    """The images of one part, each read and decoded once; a failure is remembered too."""

    def __init__(self, files: ImageFiles, limits: ImageLimits) -> None:
        self.files, self.limits = files, limits
        self._known: dict[str, _Image | InputError] = {}

    def get(self, reference: str) -> _Image:
        if reference not in self._known:
            self._known[reference] = self._read(reference)
        known = self._known[reference]
        if isinstance(known, InputError):
            raise known
        return known

    def _read(self, reference: str) -> _Image | InputError:
        try:
            data = self.files.read(reference, self.limits.max_bytes)
            height, width = decode(data, self.limits).shape[:2]
        except InputError as error:
            return error
        return _Image(data, width, height)


def _sample(row: ManifestRow, images: _Images) -> Sample:
    image = images.get(row.image)
    human = human_label(row.targets, row.mask, (image.height, image.width), images.files)
    return Sample(
        id=sample_id(image.data, row.instruction),
        image=image.data,
        image_uri=row.image,
        width=image.width,
        height=image.height,
        instruction=row.instruction,
        source=row.source,
        kind=row.kind,
        difficulty=row.difficulty,
        moment=row.moment,
        human_mask=human.mask,
        held_out=row.held_out,
        human_boxes=() if row.held_out else human.boxes,
    )


def contradicted(part: ManifestPart, position: int, sample: Sample) -> Rejection:
    """What a record ends as whose sample another part's record contradicts."""
    seen = f"another record's image has the bytes of '{sample.image_uri}'; with this instruction targets differ"
    error = InputError("conflicting_targets", seen)
    return Rejection(
        **_of_record(part, position, error), source=sample.source, image_uri=sample.image_uri,
        instruction=sample.instruction, kind=sample.kind, difficulty=sample.difficulty,
        moment=sample.moment,
    )  # fmt: skip


def _rejection(part: ManifestPart, position: int, row: ManifestRow | InputError, error: InputError) -> Rejection:
    ended = _of_record(part, position, error)
    if isinstance(row, InputError):
        return Rejection(**ended, source=parts.dataset_name(Path(part.manifest)))
    instruction = row.instruction[:MAX_INSTRUCTION]
    return Rejection(
        **ended,
        source=row.source,
        image_uri=row.image,
        instruction=instruction,
        kind=row.kind,
        difficulty=row.difficulty,
        moment=row.moment,
    )


def _of_record(part: ManifestPart, position: int, error: InputError) -> dict[str, Any]:
    record = part.first + position
    return {
        "sample_id": hashlib.blake2b(f"{part.digest}/{record}".encode(), digest_size=16).hexdigest(),
        "stage": "ingest",
        "reason": error.reason,
        "detail": f"record {record + 1}: {error.detail}",
    }
