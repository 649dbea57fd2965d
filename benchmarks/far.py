"""What a hundred million pairs leave behind, and what breaks first: `python -m benchmarks.far`.

Arithmetic over sizes that were measured. `--scale FILE` takes what `make bench-scale` kept and carries each kind of
work on to as many pairs, by the exponent of its growth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.capacity import full_file
from storage.common.markdown import markdown_table

PLAN_BYTES = 60
"""A line of a manifest in its plan: 200,000 lines in 12 MB."""
TASK_BYTES, TASK_BYTES_AT_FIRST = 6_200, 26_700
"""A part in Prefect's SQLite file, pages with their indexes: states and log lines; and with its events."""
OBJECTS, LISTED = 2, 1000
"""Objects of a part in a store, and keys that one listing gives."""
STAGES = 6
"""Rows of timings that a part has."""
MOST_PLAN, MOST_TASKS = 2e9, 20_000
"""What one run should stay below: bytes of its plan, and parts, which Ray gets at once and the UI lists."""


def row(pairs: int, part_size: int) -> tuple[str, ...]:
    """What so many pairs leave behind."""
    parts = ceil(pairs / part_size)
    runs = max(ceil(pairs * PLAN_BYTES / MOST_PLAN), ceil(parts / MOST_TASKS))
    return (
        f"{pairs:,}", f"{parts:,}", f"{ceil(pairs / full_file(pairs)):,}", f"{pairs * PLAN_BYTES / 1e6:,.0f}",
        str(runs),
        f"{parts * TASK_BYTES_AT_FIRST / 1e6:,.0f}", f"{parts * TASK_BYTES / 1e6:,.0f}", f"{parts * STAGES:,}",
        f"{parts * OBJECTS:,}", f"{ceil(parts * OBJECTS / LISTED):,}",
    )  # fmt: skip


def table(pairs: Sequence[int], part_size: int) -> str:
    """A line for each number of pairs."""
    head = (
        "pairs", "parts", "files", "plan MB", "runs", "Prefect MB, all events", "Prefect MB", "timings", "objects put",
        "requests to list them",
    )  # fmt: skip
    return markdown_table(head, [row(count, part_size) for count in pairs])


def carried_on(work: Mapping[str, Mapping[str, Any]], pairs: int, part_size: int) -> str:
    """CPU seconds of each measured kind of work at so many pairs: what is counted in parts, at as many parts.

    By the exponent, and on the straight line through the two largest sizes, which is more where a fixed share hides the
    growth of the rest.
    """
    rows = []
    for one in work.values():
        target = ceil(pairs / part_size) if "part" in one["unit"] else pairs
        (size, last), (before, less) = ((one["sizes"][at], one["cpu_s"][at]) for at in (-1, -2))
        by_exponent = last * (target / size) ** one["exponent"]
        straight = last + max(last - less, 0) * (target - size) / (size - before)
        rows.append(
            (one["what"], f"{one['exponent']:.2f}", f"{target:,} {one['unit']}", *map(_s, (by_exponent, straight)))
        )
    return markdown_table(("work", "exponent", "at", "CPU s by exponent", "CPU s, straight on"), rows)


def _s(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--part-size", type=int, default=512)
    parser.add_argument("--scale", type=Path, help="what `make bench-scale` kept")
    options = parser.parse_args()
    print(table(options.pairs, options.part_size))
    if options.scale:
        work = json.loads(options.scale.read_text(encoding="utf-8"))["work"]
        print("\n" + carried_on(work, max(options.pairs), options.part_size))


if __name__ == "__main__":
    main()
