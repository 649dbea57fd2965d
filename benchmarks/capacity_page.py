"""Bring what was measured into docs/capacity.md: `python -m benchmarks.capacity_page`.

Every table of the page with the head of one that is made here is replaced; the files are those of benchmarks/results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import far, scale
from storage.common.markdown import markdown_table
from storage.errors import ConfigError

PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
RESULTS = Path(__file__).parent / "results"
SHOWN = 9
"""Queries with a line of their own; all others share one."""
PAIRS, PART_SIZE = (1_000_000, 10_000_000, 100_000_000), 512


def page(text: str) -> str:
    """The text of the page with the tables of today."""
    work = _results("scale")["work"]
    tables = (
        queries(_results("catalog_queries")["queries"]),
        scale.table(work),
        far.table(PAIRS, PART_SIZE),
        far.carried_on(work, max(PAIRS), PART_SIZE),
    )
    for table in tables:
        text = with_table(text, table)
    return text


def queries(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The slowest queries and rules, and how long the others take at most."""
    slowest_first = sorted(measured.items(), key=lambda item: -item[1]["CPU s"])
    rows = [(_named(name), f"{one['CPU s']:.2f}") for name, one in slowest_first[:SHOWN]]
    others = slowest_first[SHOWN:]
    return markdown_table(
        ("query", "CPU s"), [*rows, (f"the other {len(others)}, at most", f"{others[0][1]['CPU s']:.2f}")]
    )


def _named(name: str) -> str:
    rule, _, named = name.rpartition(" ")
    return f"{rule} `{named}`".strip()


def with_table(text: str, table: str) -> str:
    """The text with a table in the place of the one that has the same head.

    Raises:
        ConfigError: there is no such table, or more than one.
    """
    head = table.partition("\n")[0]
    changed, times = re.subn(rf"^{re.escape(head)}\n(?:\|.*\n)*", lambda _: table + "\n", text, flags=re.M)
    if times != 1:
        raise ConfigError(f"the page has {times} tables with the head {head!r}; it needs one")
    return changed


def _results(name: str) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return results


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
