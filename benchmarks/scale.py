"""Does work grow as the data does? Each kind at N, 2N and 4N, as CPU seconds and the exponent of their growth.

    python -m benchmarks.scale --out benchmarks/results/scale.json
    python -m benchmarks.scale --only open-parts commit --times 0.1

An exponent of 1 is linear, of 0 independent of N, of 2 quadratic. Data sets are synthetic and of the real schema, and
made in processes of their own. Each kind of work has one too, which first does the same on a data set of a few parts,
so that imports are not counted. What is quick is measured several times, and the median counts. The file is written
after each kind, so that a run that is stopped goes on with `--only`.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from storage.common.markdown import markdown_table

_T = TypeVar("_T")
FEW = 4
"""Parts of the data set that is measured first, and not counted."""
TIMES, ENOUGH_S = 3, 1.0
"""Times that a piece of work is measured at most, and CPU seconds after which once more is not needed."""


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Attributes:
        sizes: N, 2N and 4N: of parts, or of rows.
        unit: what a size counts.
    """

    name: str
    what: str
    sizes: tuple[int, int, int]
    unit: str = "parts"


MANY, PARTS, ROWS = (500, 1000, 2000), (125, 250, 500), (250_000, 500_000, 1_000_000)
WORK = (
    Work("open-parts", "find the open parts, as many as are committed", MANY),
    Work("plan", "plan a manifest that grew by a part", MANY),
    Work("commit", "commit a part beside others", MANY),
    Work("catalog", "open a catalog", MANY),
    Work("query", "count(*) in an opened catalog", PARTS),
    Work("train", "open, freeze and index for a training", MANY),
    Work("coco", "ivm export coco", PARTS),
    Work("label-done", "a label flow that finds everything done", PARTS),
    Work("compact", "compact", PARTS),
    Work("report", "ivm report", ROWS, "rows"),
    Work("slowest", "the slowest named query or cleaning rule", ROWS, "rows"),
)
"""Sizes are such that all of it takes some six minutes of one core, half of them to make the data sets."""


@dataclass(frozen=True)
class Measured:
    """CPU seconds of all threads, the most memory that the process held meanwhile in MB, and a word about it."""

    seconds: float
    peak_mb: float
    note: str = ""


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=[work.name for work in WORK], help="kinds of work; all by default")
    parser.add_argument("--times", type=float, default=1.0, help="sizes are multiplied by it")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the data sets, and where they are found again")
    parser.add_argument("--out", type=Path, help="JSON file for the results; kinds that are not measured stay in it")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        for work in WORK:
            if not options.only or work.name in options.only:
                results[work.name] = _measured(work, scratch, options.times)
                print(_row(results[work.name]), flush=True)
                if options.out:
                    _write(options.out, results)
    print("\n" + table(results))


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of the straight line through the logarithms: seconds grow as size to its power."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-6)), 1)[0])


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = [
        [
            *(one["what"], one["unit"]),
            *(f"{n:,}: {s:.3g}" for n, s in zip(one["sizes"], one["cpu_s"], strict=True)),
            *(f"{one['exponent']:.2f}", f"{max(one['peak_mb']):.0f}"),
        ]
        for one in results.values()
    ]
    return markdown_table(["work", "of", "N: CPU s", "2N: CPU s", "4N: CPU s", "exponent", "peak MB"], rows)


def _measured(work: Work, scratch: Path, times: float) -> dict[str, Any]:
    sizes = [max(FEW, round(size * times)) for size in work.sizes]
    _in_a_process(partial(make, work, scratch, sizes))
    found = _in_a_process(partial(measure, work.name, scratch, sizes))
    seconds = [one.seconds for one in found]
    return {
        "what": work.what,
        "unit": work.unit,
        "sizes": sizes,
        "cpu_s": [round(one, 4) for one in seconds],
        "exponent": round(exponent(sizes, seconds), 2),
        "peak_mb": [round(one.peak_mb) for one in found],
        **({"notes": [one.note for one in found]} if any(one.note for one in found) else {}),
    }


def make(work: Work, scratch: Path, sizes: Sequence[int]) -> None:
    """Make the data sets that are not there yet."""
    from benchmarks import scale_work

    for size in sizes:
        scale_work.MAKE[work.unit](scratch, size)


def measure(name: str, scratch: Path, sizes: Sequence[int]) -> list[Measured]:
    """Do it on little, which does not count, then on each size."""
    from benchmarks import scale_work

    prepare = scale_work.WORK[name]
    _once(prepare(scratch, scale_work.LITTLE.get(name, FEW)))
    return [_median(prepare, scratch, size) for size in sizes]


def _median(prepare: Callable[[Path, int], Callable[[], Any]], scratch: Path, size: int) -> Measured:
    runs, began = list[Measured](), time.process_time()
    while len(runs) < TIMES and (not runs or time.process_time() - began < ENOUGH_S):
        runs.append(_once(prepare(scratch, size)))
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _once(call: Callable[[], Any]) -> Measured:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # The peak is counted anew.
    began = time.process_time()
    found = call()
    seconds, note = found if isinstance(found, tuple) else (time.process_time() - began, "")
    return Measured(seconds, _peak_mb(), note)


def _peak_mb() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _in_a_process(call: Callable[[], _T]) -> _T:
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call).result()


def _row(one: dict[str, Any]) -> str:
    return f"{one['what']}: {one['cpu_s']} s of CPU at {one['sizes']} {one['unit']}, exponent {one['exponent']}"


def _write(out: Path, results: dict[str, Any]) -> None:
    kept = json.loads(out.read_text())["work"] if out.exists() else {}
    record = {"command": "python -m benchmarks.scale", "cores": os.cpu_count(), "work": kept | results}
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
