"""What it costs to decide anew about a million labels, beside the decisions that labeling wrote.

    python -m benchmarks.regate --rows 1000000

Made-up light files in a folder of temporary files; the gate has the embedded calibration and other thresholds.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from benchmarks.catalog_queries import RECIPE, write
from ivm_data.quality import regate
from storage.catalog import Catalog
from storage.common.markdown import markdown_table
from storage.data_set import DataSet
from storage.gates import book

BY_STATUS = "SELECT status, count(*) FROM labels GROUP BY ALL"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write(data, options.rows, options.files)
        print(markdown_table(["what", "seconds"], measured(data)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.rows:,} outcomes in {options.files} files; at most {peak:,.0f} MiB of memory")


def measured(data: Path) -> list[tuple[str, str]]:
    rows = [("labels by status, as written", timed(lambda: by_status(data)))]
    rows += [("accepted labels in Python, as written", timed(lambda: accepted(data)))]
    with DataSet.open(data) as opened:
        gate = regate.changed(regate.current(opened), {"accept": 0.9, "reject": 0.2}, "zoo:calibration.json")
        rows += [("preview: by source, kind, sides, examples", timed(lambda: regate.preview(opened, gate)))]
    rows += [("apply", timed(lambda: book.apply(data, gate, who="benchmark")))]
    rows += [("labels by status, decided anew", timed(lambda: by_status(data)))]
    rows += [("accepted labels in Python, decided anew", timed(lambda: accepted(data)))]
    rows += [("undo", timed(lambda: book.undo(data, RECIPE, who="benchmark")))]
    return rows


def by_status(data: Path) -> Any:
    with Catalog(data) as catalog:
        return catalog.sql(BY_STATUS)


def accepted(data: Path) -> int:
    with DataSet.open(data) as opened:
        return sum(map(len, opened.light_batches(["sample_id"], pc.field("status") == "accepted")))


def timed(work: Callable[[], Any]) -> str:
    began = time.perf_counter()
    work()
    return f"{time.perf_counter() - began:.2f}"


if __name__ == "__main__":
    main()
