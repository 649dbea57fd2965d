"""WebDataset: tar shards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ivm_data.exports.export_format import Counts, Item, Opens, coco_rle, fitting, mask_png
from storage.common.extras import extra
from storage.common.validation import Checked, Count

_OPENS = Opens(frozenset({"JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"}))
"""By the endings that the library's decoder knows; it does not know avif and mpo."""


@dataclass(frozen=True)
class WebDatasetOptions(Checked):
    """How large a shard is.

    Attributes:
        samples: most in a shard.
        megabytes: most in a shard; one larger sample still makes one.
    """

    samples: Count = 10_000
    megabytes: Count = 512


def write_web_dataset(items: Iterable[Item], folder: Path, options: WebDatasetOptions) -> Counts:
    """WebDataset: a sample a label: the image, `mask.png`, and `json` with instruction, quality, RLE and more.

    Loses: proposals, heatmap
    """
    with extra("formats"):
        from webdataset import ShardWriter

    counts, seen = Counts(), set[str]()
    pattern = f"{folder}/shard-%06d.tar"
    limits = {"maxcount": options.samples, "maxsize": options.megabytes * 1e6}
    with ShardWriter(pattern, **limits, verbose=0, mtime=0, user="ivm", group="ivm", encoder=False) as shards:
        for item in items:
            image, suffix = fitting(item.label.sample.image, _OPENS)
            facts = {**item.facts(), "mask_rle": coco_rle(item.mask)}
            text = json.dumps(facts, ensure_ascii=False).encode()
            key = item.label.sample.id
            shards.write({"__key__": key, suffix: image, "mask.png": mask_png(item.mask), "json": text})
            seen.add(item.label.sample.image_sha)
            counts.add(item)
    counts.images = len(seen)
    return counts
