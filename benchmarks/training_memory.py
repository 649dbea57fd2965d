"""Peak memory of a training over growing numbers of labels: `python -m benchmarks.training_memory`.

Each number of rows is a data set of its own: photographs of noise, about 150 kB each as JPEG, with a mask and an
instruction of their own, one mask in ten drawn by a person. A process trains on it and reports the
most memory that it ever held (VmHWM: ru_maxrss is wrong in a process that was forked from a larger one).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from storage.common.markdown import markdown_table
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Label, Lineage, PartResult, Sample, Scores, Status, sample_id
from storage.request import Request

PART = 500
SIZE = (480, 640)
QUALITY = 82
"""Noise of this size and quality is a JPEG of about 150 kB."""


def label(number: int) -> Label:
    """A photograph of noise, half of which is marked."""
    rng = np.random.default_rng(number)
    image_HWC = cv2.resize(rng.integers(0, 256, (240, 320, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    image = cv2.imencode(".jpg", image_HWC, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    mask_HW = np.zeros(SIZE, bool)
    mask_HW[:, : int(rng.integers(1, SIZE[1]))] = True
    mask, instruction = rle.encode(mask_HW), f"Find thing {number}."
    human = mask if number % 10 == 0 else None
    sample = Sample(sample_id(image, instruction), image, "", *SIZE[::-1], instruction, "noise", human_mask=human)
    scores = Scores(verification=0.7, quality=0.7)
    return Label(sample, Request.of(("thing",)), (), (), mask, scores, Status.ACCEPTED, "ok", Lineage("noise", ()))


def write_rows(data: Path, count: int) -> float:
    """Commit `count` labels; returns the mean size of an image in bytes."""
    size = 0
    for start in range(0, count, PART):
        labels = tuple(label(number) for number in range(start, min(start + PART, count)))
        size += sum(len(each.sample.image) for each in labels)
        commit_part(data, PartResult(f"part-{start // PART:05d}", "noise", labels))
    return size / count


def train(data: Path, changes: list[str]) -> None:
    """Train in this process and print its peak memory and time as JSON."""
    from ivm_data.recipes.training_recipes import train_config
    from ivm_model.train.trainer import train_dwsl

    began = time.perf_counter()
    overrides = dict(change.split("=", 1) for change in changes)
    report = train_dwsl(train_config(data, data.parent / "model", overrides))
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_mb": peak / 1024, "seconds": time.perf_counter() - began, "rows": dict(report.rows)}))


def main() -> None:
    """Write the data sets one after the other, train on each, print a table."""
    options = _options()
    if options.train:
        train(options.train, options.set)
        return
    rows = []
    for count in options.rows:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            image = write_rows(Path(folder) / "data", count)
            command = [sys.executable, "-m", "benchmarks.training_memory", "--train", f"{folder}/data"]
            command += [f"--set={change}" for change in options.set]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            rows.append((f"{count:,}", f"{image / 1000:.0f} kB", round(found["peak_mb"]), round(found["seconds"])))
            print(*rows[-1], flush=True)
    print(markdown_table(("rows", "image", "peak memory, MiB", "seconds"), rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 10_000, 20_000])
    parser.add_argument("--set", action="append", default=["generator.steps=40", "discriminator.steps=10"])
    parser.add_argument("--work", type=Path, help="folder for the data sets, some 3 GB; the system's own by default")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
