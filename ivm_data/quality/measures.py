"""Measures of a label that need its pixels, taken once and kept: components, perceptual hash, votes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError
from rlemasklib import RLEMask

from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.manifest_parts import dataset_name
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.parts import layout
from storage.parts.part_files import CommittedPart
from storage.parts.shards import write_evaluation, write_measures
from storage.pixels import images, rle
from storage.records import Rle, Sample, image_sha

MeasuredRow = dict[str, Any]

_COLUMNS = [
    "recipe",
    "part",
    "position",
    "sample_id",
    "height",
    "width",
    "image_sha",
    "image",
    "mask",
    "proposal_masks",
]


def measure(data: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Measure every part that is not measured yet; returns how many those were. Killing it loses one file's work.

    Args:
        progress: called with how many of how many label files are done.
    """
    with DataSet.open(data) as opened:
        unmeasured = _unmeasured(opened)
        for index, (light, parts) in enumerate(unmeasured.items()):
            write_measures(data, light.parent.name, *_measured(light, parts))
            progress(index + 1, len(unmeasured))
    return sum(map(len, unmeasured.values()))


def add_evaluation(data: Path, images: Path) -> int:
    """Keep the hashes of an evaluation set's images, a folder or a manifest; returns how many could be read.

    Raises:
        ConfigError: no image can be read there.
    """
    found = _of_folder(images) if images.is_dir() else _of_manifest(images)
    name = dataset_name(images)
    rows = [
        {"evaluation_set": name, "image_uri": uri, "image_sha": image_sha(raw), "image_hash": hashed}
        for uri, raw in found
        if (hashed := perceptual_hash(raw)) is not None
    ]
    if not rows:
        raise ConfigError(f"no readable image in '{images}'; give a folder of images or a manifest")
    write_evaluation(data, name, "images", rows)
    return len(rows)


def _unmeasured(data: DataSet) -> dict[Path, list[CommittedPart]]:
    """Light file -> the parts in it that have no measures."""
    measured = {(p.parent.name, part.name, part.content) for p in data.by_kind["measures"] for part in data.parts(p)}
    parts = {
        light: [part for part in data.parts(light) if (light.parent.name, part.name, part.content) not in measured]
        for light in data.by_kind["light"]
    }
    return {light: unmeasured for light, unmeasured in parts.items() if unmeasured}


def _of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def _of_manifest(manifest: Path) -> Iterator[tuple[str, bytes]]:
    for part in plan(manifest, part_size=64):
        for item in read_part(part):
            if isinstance(item, Sample):
                yield item.image_uri, item.image


def perceptual_hash(image: bytes) -> int | None:
    """64-bit pHash: signs of the lowest frequencies of a 32x32 grey image's DCT; None where no image can be read.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            bits = imagehash.phash(images.upright(opened)).hash.flatten()
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def vote_counts(masks: Sequence[Rle]) -> dict[int, int]:
    """Pixels by who marks them: bit i of a key is set where mask i does. All masks have one size."""
    if not masks:
        return {}
    pattern_HW = np.zeros((masks[0].height, masks[0].width), np.int64)
    for index, mask in enumerate(masks):
        pattern_HW |= rle.decode(mask).astype(np.int64) << index
    values, counts = np.unique(pattern_HW, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _measured(light: Path, parts: Sequence[CommittedPart]) -> tuple[list[CommittedPart], list[MeasuredRow]]:
    """The parts with the rows that they have here, and those rows."""
    rows = list(_rows(layout.heavy_path(light), {part.name for part in parts}))
    counts = Counter(row["part"] for row in rows)
    return [CommittedPart(part.name, part.content, counts[part.name]) for part in parts], rows


def _rows(heavy: Path, parts: set[str]) -> Iterator[MeasuredRow]:
    hashes: dict[str, int | None] = {}
    with pq.ParquetFile(heavy) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=_COLUMNS).to_pylist()
            for row in rows:
                if row["image"] is not None and row["image_sha"] not in hashes:
                    hashes[row["image_sha"]] = perceptual_hash(row["image"])
            yield from (_row(row, hashes[row["image_sha"]]) for row in rows if row["part"] in parts)


def _row(row: MeasuredRow, hashed: int | None) -> MeasuredRow:
    frame = row["height"], row["width"]
    mask = Rle(*frame, row["mask"])
    sizes = _component_sizes(mask)
    extent = rle.bbox(mask)
    votes = vote_counts([Rle(*frame, counts) for counts in row["proposal_masks"]])
    return {name: row[name] for name in ("recipe", "part", "position", "sample_id", "image_sha")} | {
        "image_hash": hashed,
        "components": len(sizes),
        "largest": max(sizes) / sum(sizes) if sizes else None,
        "extent": None if extent is None else asdict(extent),
        "votes": [{"experts": experts, "pixels": pixels} for experts, pixels in votes.items()],
    }


def _component_sizes(mask: Rle) -> list[int]:
    whole = RLEMask.from_dict({"size": [mask.height, mask.width], "counts": mask.counts})
    return [int(part.area()) for part in whole.connected_components(connectivity=8)]
