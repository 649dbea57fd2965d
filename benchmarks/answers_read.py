"""How many raw LMM answers are read as meant: `python -m benchmarks.answers_read FILE`.

A line of FILE is `{"answer": ..., "want": {"targets": [...], "relation": ..., "anchor": ..., "all": ...}}`; `want` is
null where the answer names nothing that can be searched for. An answer that cannot be read, or is read with a note, is
no silent mistake; one that is read as something else without a note is.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from ivm_data.cli.rewrite import in_short
from ivm_data.experts.lmms.request_reader import read
from storage.common.markdown import markdown_table


def main(file: Annotated[Path, typer.Argument(help="JSONL with answers and what they mean.")]) -> None:
    """Print the counts as a Markdown table, then every answer that is not read as meant."""
    counts: Counter[str] = Counter()
    others = []
    for line in file.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        outcome, found = judged(case["answer"], case["want"])
        counts[outcome] += 1
        if outcome != "as meant":
            others.append((outcome, case["answer"], found))
    total = sum(counts.values())
    print(markdown_table(["answers", "number", "share"], [(name, n, n / total) for name, n in counts.most_common()]))
    for outcome, answer, found in others:
        print(f"{outcome}: {answer!r} -> {found}")


def judged(answer: str, want: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """ "as meant", "unreadable", "otherwise, with a note" or "silently otherwise"; and the answer in its short form."""
    found = in_short(read(answer))
    short = {key: found[key] for key in ("targets", "relation", "anchor", "all")} if found["targets"] else None
    if short == want:
        return "as meant", found
    if found["fault"]:
        return "unreadable", found
    return ("otherwise, with a note" if found["notes"] else "silently otherwise"), found


if __name__ == "__main__":
    typer.run(main)
