"""Hugging Face `datasets`: Parquet files for `load_dataset`, or a folder for `load_from_disk`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ivm_data.exports.export_format import PILLOW, Counts, Item, coco_rle, fitting, mask_png
from storage.common.extras import extra
from storage.common.validation import Checked, Count

if TYPE_CHECKING:
    from datasets import Features

GROUP = 64
"""Rows in memory, and in a row group."""


@dataclass(frozen=True)
class HuggingFaceOptions(Checked):
    """How the rows lie on disk.

    Attributes:
        layout: `parquet` makes data/train-*.parquet, what the Hub shows; `disk` makes what `save_to_disk` does.
        rows_per_file: of Parquet, in whole groups of 64.
    """

    layout: Literal["parquet", "disk"] = "parquet"
    rows_per_file: Count = 4096


def write_hugging_face(items: Iterable[Item], folder: Path, options: HuggingFaceOptions) -> Counts:
    """Hugging Face: a row a label, `image` and `mask_image` as Image features, `targets` as in our manifest.

    Loses: proposals, heatmap
    """
    counts, seen = Counts(), set[str]()
    features = _features()
    rows = (_row(item, counts, seen) for item in items)
    batches = _batches(rows, features.arrow_schema)
    if options.layout == "parquet":
        _write_parquet(batches, folder / "data", features.arrow_schema, options.rows_per_file)
    else:
        _write_disk(batches, folder, features)
    counts.images = len(seen)
    return counts


def _features() -> Features:
    with extra("formats"):
        from datasets import Features, Image, List, Value

    texts = ("sample_id", "instruction", "source", "kind", "difficulty", "status", "mask_by")
    target = {"mask_rle": {"size": List(Value("int32")), "counts": Value("string")}}
    return Features(
        {
            "image": Image(),
            "mask_image": Image(),
            "targets": List(target),
            **{name: Value("string") for name in texts},
            "held_out": Value("bool"),
            "quality": Value("float64"),
        }
    )


def _row(item: Item, counts: Counts, seen: set[str]) -> dict[str, Any]:
    data, suffix = fitting(item.label.sample.image, PILLOW)
    name = item.label.sample.image_sha
    seen.add(name)
    counts.add(item)
    return {
        "image": {"bytes": data, "path": f"{name}.{suffix}"},
        "mask_image": {"bytes": mask_png(item.mask), "path": f"{item.label.sample.id}.png"},
        "targets": [] if item.absent else [{"mask_rle": coco_rle(item.mask)}],
        **item.facts(),
    }


def _batches(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while group := list(islice(rows, GROUP)):
        yield pa.RecordBatch.from_pylist(group, schema)


def _write_parquet(batches: Iterator[pa.RecordBatch], folder: Path, schema: pa.Schema, rows_per_file: int) -> None:
    folder.mkdir()
    for number, first in enumerate(batches):
        with pq.ParquetWriter(folder / f"train-{number:05d}.parquet", schema) as writer:
            writer.write_batch(first)
            for batch in islice(batches, math.ceil(rows_per_file / GROUP) - 1):
                writer.write_batch(batch)


def _write_disk(batches: Iterator[pa.RecordBatch], folder: Path, features: Features) -> None:
    """Stream the rows into one Arrow file, and let the library make its folder of that, memory-mapped."""
    import datasets

    stream = folder / "unfinished" / "rows.arrow"
    stream.parent.mkdir()
    with pa.ipc.new_stream(stream, features.arrow_schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    table = datasets.table.MemoryMappedTable.from_file(str(stream))
    # The library's own fingerprint follows from the file's time.
    rows = datasets.Dataset(table, datasets.DatasetInfo(features=features), fingerprint="ivm-export")
    rows.save_to_disk(folder)
    shutil.rmtree(stream.parent)
