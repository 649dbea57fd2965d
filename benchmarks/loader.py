"""Samples a CPU second of our shard reader against a reader that works like the release's: JSONL, JPEG masks, OpenCV.

Run: python -m benchmarks.loader --photos ../shared/data/photos_dev [--scale 4] [--side 1024] [--pairs 48]

Both readers give the same pixels' worth of work: an RGB image and a soft mask whose longer side is at most `--side`.
The release's reader was not copied; it is written from its description: a line of JSON names an image file and a
grayscale JPEG mask, both are decoded whole by OpenCV and resized. Rounds take turns, the median counts, and time is
processor time: one thread, files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ivm_model.data.examples import Examples, FeedConfig
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Label, Lineage, PartResult, Sample, Scores, Status, sample_id
from storage.request import Request

ROUNDS = 5
QUALITY = 90

Pair = tuple[np.ndarray, np.ndarray, str]
"""HWC uint8 RGB, HW bool mask, instruction."""


def photos(folder: Path, scale: float, count: int) -> Iterator[Pair]:
    """The first pairs of a manifest with `targets`, enlarged."""
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:count]:
        row = json.loads(line)
        image_HWC = cv2.cvtColor(cv2.imread(str(folder / row["image"])), cv2.COLOR_BGR2RGB)
        mask_HW = np.zeros(image_HWC.shape[:2], bool)
        for target in row["targets"]:
            mask_HW |= rle.decode(rle.from_counts(**target["mask_rle"]))
        yield (*_enlarged(image_HWC, mask_HW, scale), row["instruction"])


def write_release(root: Path, pairs: list[Pair]) -> Path:
    """Files as the release has them: `meta.jsonl`, `img_<n>.jpg`, soft grayscale `mask_<n>.jpg`."""
    lines = []
    for number, (image_HWC, mask_HW, instruction) in enumerate(pairs):
        (root / f"img_{number}.jpg").write_bytes(_jpeg(image_HWC))
        cv2.imwrite(str(root / f"mask_{number}.jpg"), mask_HW.astype(np.uint8) * 255)
        lines.append(json.dumps({"uuid": str(number), "instruction": [instruction]}))
    (root / "meta.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return root


def write_shards(root: Path, pairs: list[Pair]) -> Path:
    """The same pairs as one committed part."""
    labels = []
    for image_HWC, mask_HW, instruction in pairs:
        image, (height, width) = _jpeg(image_HWC), mask_HW.shape
        mask = rle.encode(mask_HW)
        sample = Sample(sample_id(image, instruction), image, "", width, height, instruction, "photos", human_mask=mask)
        lineage = Lineage("benchmark", ())
        labels.append(Label(sample, Request(), (), (), mask, Scores(), Status.ACCEPTED, "ok", lineage))
    commit_part(root, PartResult("part", "benchmark", tuple(labels)))
    return root


def read_release(root: Path, order: np.ndarray, side: int) -> int:
    """Read all pairs in an order; returns their number."""
    lines = (root / "meta.jsonl").read_text(encoding="utf-8").splitlines()
    for k in order:
        row = json.loads(lines[k])
        image_HWC = cv2.cvtColor(cv2.imread(str(root / f"img_{row['uuid']}.jpg")), cv2.COLOR_BGR2RGB)
        mask_HW = cv2.imread(str(root / f"mask_{row['uuid']}.jpg"), cv2.IMREAD_GRAYSCALE)
        height, width = mask_HW.shape
        scale = min(1.0, side / max(height, width))
        size = (round(width * scale), round(height * scale))
        cv2.resize(image_HWC, size)
        cv2.resize(mask_HW, size).astype(np.float32) / 255
    return len(order)


def read_shards(rows: Examples, order: np.ndarray) -> int:
    """The same from shards."""
    for k in order:
        if rows[int(k)].problem:
            raise RuntimeError(rows[int(k)].problem)
    return len(order)


def compare(readers: dict[str, Callable[[np.ndarray], int]], count: int) -> dict[str, float]:
    """Median samples a CPU second of each reader, over rounds in which all take turns on one order of rows."""
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for round_number in range(ROUNDS + 1):
        order = np.random.default_rng(round_number).permutation(count)
        for name, read in readers.items():
            started = time.process_time()
            read(order)
            if round_number:  # the first round only warms the page cache
                speeds[name].append(count / (time.process_time() - started))
    return {name: statistics.median(values) for name, values in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder with manifest.jsonl and images")
    parser.add_argument("--pairs", type=int, default=48, help="how many pairs are read in a round")
    parser.add_argument("--scale", type=float, default=4.0, help="how far pictures are enlarged first")
    parser.add_argument("--side", type=int, default=1024, help="of SAM's input")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = list(photos(options.photos, options.scale, options.pairs))
    with tempfile.TemporaryDirectory() as folder:
        (release := Path(folder) / "release").mkdir()
        write_release(release, pairs)
        index = index_rows(write_shards(Path(folder) / "data", pairs), RowsConfig(test_share=0.0))
        rows = Examples(index, FeedConfig(), options.side, 0)
        speeds = compare(
            {
                "like the release": lambda order: read_release(release, order, options.side),
                "shards": lambda order: read_shards(rows, order),
            },
            len(index),
        )
    height, width = (int(np.median([pair[1].shape[axis] for pair in pairs])) for axis in (0, 1))
    print(f"{len(pairs)} pairs, median picture {width}x{height}, longer side at most {options.side}, one process")
    for name, speed in speeds.items():
        print(f"{name:>17}: {speed:7.1f} samples/CPU s")
    print(f"{'ratio':>17}: {speeds['shards'] / speeds['like the release']:7.2f}")


def _enlarged(image_HWC: np.ndarray, mask_HW: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    size = (round(mask_HW.shape[1] * scale), round(mask_HW.shape[0] * scale))
    larger_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_CUBIC)
    return larger_HWC, cv2.resize(mask_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _jpeg(image_HWC: np.ndarray) -> bytes:
    bgr_HWC = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


if __name__ == "__main__":
    main()
