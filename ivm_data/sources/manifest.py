"""Our own manifest, JSONL or CSV -> samples.

A JSONL line is an object with `image` (a path relative to the root) and `instruction`, and optionally `source` (a
string, or an object with `dataset`), `kind`, `difficulty`, `held_out`, `targets` (objects with `mask_rle`, which is
`{size, counts}`) and `mask` (a path of a PNG, or such an RLE object). A CSV has the columns image, instruction, and
optionally source, kind, difficulty, mask. Other keys are ignored. The human mask is the union of all masks given;
`"targets": []` says that a person found nothing to mask.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ivm_data.images import DEFAULT_LIMITS, ImageLimits, decode
from ivm_data.sources import parts, rows
from ivm_data.sources.files import read_inside
from ivm_data.sources.human_mask import human_mask
from ivm_data.sources.parts import Part
from ivm_data.sources.rows import MAX_INSTRUCTION, Row
from storage.errors import ConfigError, InputError
from storage.records import Rejection, Sample, sample_id


@dataclass(frozen=True)
class _Image:
    data: bytes
    width: int
    height: int


def plan(manifest: Path, part_size: int = 64) -> list[Part]:
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
        return f"{row.image}\x00{row.instruction}".encode()

    return parts.split(manifest, part_size, key)


def read_part(part: Part, root: Path | None = None, limits: ImageLimits = DEFAULT_LIMITS) -> list[Sample | Rejection]:
    """Read a part: one `Sample` or `Rejection` for each record, in order.

    Args:
        root: folder that image and mask paths are relative to and may not leave; the manifest's folder by default.

    Raises:
        ConfigError: the manifest or the root is gone, or the manifest was changed since `plan`.
        TransientError: the file system failed while reading an image.
    """
    manifest = Path(part.manifest)
    root = manifest.parent if root is None else root
    if not root.is_dir():
        raise ConfigError(f"image root '{root}' is not a folder; give the folder that image paths are relative to")
    parse, images = rows.parser(manifest), _Images(root, limits)
    outcomes: list[Sample | Rejection] = []
    seen: set[str] = set()
    for position, raw in enumerate(parts.read(part)):
        row = None
        try:
            row = parse(raw)
            rows.check_instruction(row.instruction)
            if position in part.duplicates:
                raise InputError("duplicate", f"'{row.image}' with this instruction came earlier in the manifest")
            sample = _sample(row, images)
            if sample.id in seen:
                raise InputError("duplicate", f"'{row.image}' has the bytes of an earlier image with this instruction")
            seen.add(sample.id)
            outcomes.append(sample)
        except InputError as error:
            outcomes.append(_rejection(part, position, row, error))
    return outcomes


class _Images:
    """The images of one part, each read and decoded once; a failure is remembered too."""

    def __init__(self, root: Path, limits: ImageLimits) -> None:
        self.root, self.limits = root, limits
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
            data = read_inside(self.root, reference, self.limits.max_bytes)
            height, width = decode(data, self.limits).shape[:2]
        except InputError as error:
            return error
        return _Image(data, width, height)


def _sample(row: Row, images: _Images) -> Sample:
    image = images.get(row.image)
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
        human_mask=human_mask(row.targets, row.mask, (image.height, image.width), images.root),
        held_out=row.held_out,
    )


def _rejection(part: Part, position: int, row: Row | None, error: InputError) -> Rejection:
    record = part.first + position
    return Rejection(
        sample_id=hashlib.blake2b(f"{part.digest}/{record}".encode(), digest_size=16).hexdigest(),
        stage="ingest",
        reason=error.reason,
        detail=f"record {record + 1}: {error.detail}",
        source=row.source if row else parts.dataset_name(Path(part.manifest)),
        image_uri=row.image if row else "",
        instruction=row.instruction[:MAX_INSTRUCTION] if row else "",
    )
