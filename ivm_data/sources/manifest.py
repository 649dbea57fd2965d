"""Our own manifest, JSONL or CSV -> samples.

A JSONL line is an object with `image` (a reference, see `ivm_data.sources.files`) and `instruction`, and optionally
`source` (a string, or an object with `dataset`), `kind`, `difficulty`, `held_out`, `targets` (objects as in
`ivm_data.sources.human_mask`) and `mask` (a path of a PNG, or an RLE object `{size, counts}`). A CSV has the columns
image, instruction, and optionally source, kind, difficulty, mask. Other keys are ignored. The human mask is the union
of all masks given; `"targets": []` says that a person found nothing to mask. A line with `error` is a record that an
import could not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ivm_data.sources import manifest_parts as parts
from ivm_data.sources import manifest_rows as rows
from ivm_data.sources.fetch import FetchConfig, Fetcher
from ivm_data.sources.files import ImageFiles
from ivm_data.sources.human_mask import human_label
from ivm_data.sources.manifest_parts import ManifestPart, ManifestPlan
from ivm_data.sources.manifest_rows import MAX_INSTRUCTION, ManifestRow
from storage.errors import ConfigError, InputError
from storage.images import DEFAULT_LIMITS, ImageLimits, decode
from storage.inputs import words
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
    """

    item: Sample | Rejection
    record: bytes
    words: int


def plan(manifest: Path, part_size: int = 64) -> list[ManifestPart]:
    """The parts of a manifest; see `plan_records`."""
    return plan_records(manifest, part_size).parts


def plan_records(manifest: Path, part_size: int = 64, root: Path | None = None) -> ManifestPlan:
    """Cut a manifest into parts and find the pairs of image reference and instruction that came earlier in it.

    Equal image bytes under two names are found within a part only, where the bytes are at hand.

    Raises:
        ConfigError: no usable manifest, or a part size under 1.
    """
    parse = rows.parser(manifest)

    def key(raw: bytes) -> bytes | None:
        try:
            row = parse(raw)
        except InputError:
            return None
        return None if row.error else f"{row.image}\x00{row.instruction}".encode()

    return parts.split(manifest, part_size, key, root)


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
    records: list[ManifestRecord] = []
    seen: set[str] = set()
    with ImageFiles(root, Fetcher(fetch) if fetch else None) as files:
        files.prepare((row.image for row in found if isinstance(row, ManifestRow)), limits.max_bytes)
        images = _Images(files, limits)
        for position, raw, row in zip(part.positions, raws, found, strict=True):
            item: Sample | Rejection
            try:
                item = _outcome(part, position, row, images, seen)
            except InputError as error:
                item = _rejection(part, position, row if isinstance(row, ManifestRow) else None, error)
            records.append(ManifestRecord(item, parts.record_hash(frame, raw), _words(part, row)))
    return records


def _words(part: ManifestPart, row: ManifestRow | InputError) -> int:
    """A source that is named like the manifest is none that the record states."""
    if isinstance(row, InputError):
        return UNKNOWN
    stated = "" if row.source == parts.dataset_name(Path(part.manifest)) else row.source
    return words(stated, row.kind, row.difficulty)


def _parsed(parse: Callable[[bytes], ManifestRow], raw: bytes) -> ManifestRow | InputError:
    try:
        return parse(raw)
    except InputError as error:
        return error


def _outcome(
    part: ManifestPart, position: int, row: ManifestRow | InputError, images: _Images, seen: set[str]
) -> Sample:
    """The record's sample, or the InputError that makes it a rejection; `seen` grows by its id."""
    if isinstance(row, InputError):
        raise row
    if row.error:
        raise InputError("bad_source_record", row.error)
    rows.check_instruction(row.instruction)
    if position in part.duplicates:
        raise InputError("duplicate", f"'{row.image}' with this instruction came earlier in the manifest")
    sample = _sample(row, images)
    if sample.id in seen:
        raise InputError("duplicate", f"'{row.image}' has the bytes of an earlier image with this instruction")
    seen.add(sample.id)
    return sample


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
        human_mask=human.mask,
        held_out=row.held_out,
        human_boxes=() if row.held_out else human.boxes,
    )


def _rejection(part: ManifestPart, position: int, row: ManifestRow | None, error: InputError) -> Rejection:
    record = part.first + position
    return Rejection(
        sample_id=hashlib.blake2b(f"{part.digest}/{record}".encode(), digest_size=16).hexdigest(),
        stage="ingest",
        reason=error.reason,
        detail=f"record {record + 1}: {error.detail}",
        source=row.source if row else parts.dataset_name(Path(part.manifest)),
        image_uri=row.image if row else "",
        instruction=row.instruction[:MAX_INSTRUCTION] if row else "",
        kind=row.kind if row else "",
        difficulty=row.difficulty if row else "",
    )
