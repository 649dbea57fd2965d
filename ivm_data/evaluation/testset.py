"""A manifest with truth -> questions to score systems on.

A record may have `ignore`, a list of objects as in `targets`: pixels that count for nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ivm_data.sources import manifest_parts as parts
from ivm_data.sources.human_mask import human_label
from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.manifest_parts import ManifestPart
from storage.common.validation import Checked, Natural
from storage.errors import InputError
from storage.pixels.images import bounded
from storage.records import Rle, Sample

PART_SIZE = 32
AREAS = {"none": 0.0, "under 1 %": 0.01, "1 to 5 %": 0.05, "5 to 20 %": 0.2, "over 20 %": 1.0}
"""Bucket -> greatest share of the image that its truth covers."""


@dataclass(frozen=True)
class Question:
    """What a system is asked, and what is true.

    Attributes:
        sample: image and instruction, without anything that a person marked.
        truth: all pixels that the instruction needs; none where the target is not in the image.
        ignore: pixels that count for nobody.
    """

    sample: Sample
    truth: Rle
    ignore: Rle | None = None

    @property
    def area(self) -> str:
        """The member of `AREAS` that the truth falls into."""
        from storage.pixels import rle

        share = rle.area(self.truth) / (self.truth.height * self.truth.width)
        return next(name for name, most in AREAS.items() if share <= most)


@dataclass
class TestSet(Checked):
    """A manifest that is read part by part, so that its images need no more memory than one part's.

    Attributes:
        bad: what could not be used so far, for a person.
        unmarked: records so far that say nothing of the truth, or only boxes.
    """

    __test__ = False  # pytest takes the name for a test's

    manifest: Path
    image_root: Path | None = None
    limit: Natural = 0
    bad: list[str] = field(default_factory=list)
    unmarked: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts: tuple[ManifestPart, ...] = tuple(plan(self.manifest, PART_SIZE))

    @property
    def records(self) -> int:
        """Records that `batches` looks at."""
        every = sum(part.records for part in self.parts)
        return min(every, self.limit) if self.limit else every

    def batches(self) -> Iterator[list[Question]]:
        """The questions of each part, fewer where images are huge, in the manifest's order; `limit` counts records."""
        for part in self.parts:
            left = self.limit - part.first if self.limit else part.records
            if left <= 0:
                return
            yield from bounded(self._questions(part, left), PART_SIZE, lambda q: q.sample.width * q.sample.height)

    def _questions(self, part: ManifestPart, most: int) -> Iterator[Question]:
        items = read_part(part, self.image_root)
        for item, raw in list(zip(items, parts.read(part), strict=True))[:most]:
            if not isinstance(item, Sample):
                self.bad.append(f"{item.reason}: {item.detail}")
            elif item.human_mask is None:
                self.unmarked += 1
            else:
                try:
                    ignore = self._ignore(item, raw)
                except InputError as error:
                    self.bad.append(f"{item.image_uri}: ignore: {error}")
                    continue
                yield Question(replace(item, human_mask=None, human_boxes=()), item.human_mask, ignore)

    def _ignore(self, sample: Sample, raw: bytes) -> Rle | None:
        given: Any = json.loads(raw).get("ignore") if self.manifest.suffix == ".jsonl" else None
        root = self.manifest.parent if self.image_root is None else self.image_root
        label = human_label(given, None, (sample.height, sample.width), root)
        if label.boxes:
            raise InputError("bad_human_mask", "a region to ignore must be a mask, not a box")
        return label.mask
