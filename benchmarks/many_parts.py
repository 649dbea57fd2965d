"""CPU seconds that it takes to open a data set of many parts that were never compacted, and to plan a run over it.

    python -m benchmarks.many_parts --parts 1000 2000 4000

Prints a line for each number of parts: opening alone, and planning of a manifest that grew by one line. The parts hold
two rejections each, since a part costs what its files cost, not its rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ivm_data.engine.labeling import read
from ivm_data.engine.labeling_run import LabelingRun, with_parts
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan_records
from storage.data_set import DataSet
from storage.parts.shards import commit_part
from storage.records import Lineage, PartResult, Rejection

_T = TypeVar("_T")
ROWS = 2
RECIPE = "0123456789ab"


def main() -> None:
    """Make each data set, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", type=int, nargs="+", default=[1000, 2000, 4000])
    print(f"{'parts':>8}{'open':>8}{'plan':>8}   CPU seconds")
    for parts in parser.parse_args().parts:
        with tempfile.TemporaryDirectory() as folder:
            opened, planned = _measure(Path(folder), parts)
        print(f"{parts:>8}{opened:>8.2f}{planned:>8.2f}", flush=True)


def _measure(folder: Path, parts: int) -> tuple[float, float]:
    manifest, data = folder / "m.jsonl", folder / "data"
    data.mkdir()
    lines = [json.dumps({"image": "none.png", "instruction": f"Find {n}."}) for n in range(parts * ROWS)]
    _commit(_planned(manifest, data, lines))
    opened, _ = _timed(lambda: DataSet.open(data).close())
    more = [json.dumps({"image": "none.png", "instruction": "Find one more."}), *lines]
    seconds, run = _timed(lambda: _planned(manifest, data, more))
    assert (run.known, run.pairs) == (len(lines), len(more))
    return opened, seconds


def _planned(manifest: Path, data: Path, lines: list[str]) -> LabelingRun:
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = LabelingRun(data, (), recipe("demo"), Lineage(RECIPE, ()), plan=plan_records(manifest, ROWS))
    return with_parts(run, ())


def _commit(run: LabelingRun) -> None:
    for part in run.parts:
        reading = read(run, part)
        if reading is not None:
            rejections = tuple(item for item in reading.items if isinstance(item, Rejection))
            commit_part(run.data, PartResult(reading.part, RECIPE, rejections, inputs=reading.inputs))


def _timed(work: Callable[[], _T]) -> tuple[float, _T]:
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


if __name__ == "__main__":
    main()
