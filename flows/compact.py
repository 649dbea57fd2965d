"""The `compact` flow: many small label files become few large ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from pydantic import PositiveInt

from flows.artifacts import as_cells
from storage.display import markdown, one_line
from storage.upkeep import compact as compaction


@flow(name="compact", flow_run_name=lambda: f"compact {one_line(Path(flow_run.parameters['data']).name)}")
def compact(data: Path, *, recipe: str = "", target_rows: PositiveInt | None = None) -> int:
    """Join the label files of a data set, so that questions about it stay quick. Labeling may go on meanwhile.

    Args:
        data: Folder of a labeled data set.
        recipe: Hash of the recipe whose files are joined; every recipe's by default.
        target_rows: Most inputs in one file; by default 16,384, and more from two million inputs on.

    Returns:
        The number of label files now.
    """
    done = compaction.compact(data, recipe or None, target_rows)
    create_table_artifact(
        as_cells(asdict(each) for each in done),
        key="compact-files",
        description=markdown(f"label files of {data}"),
    )
    return sum(each.after for each in done)
