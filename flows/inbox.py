"""The `label-inbox` flow: every manifest of a folder gets one run of `label-batch`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import NonNegativeFloat, PositiveInt

from flows.artifacts import as_cells
from flows.choices import RecipeName
from flows.runtime import start_once
from ivm_data.sources.manifest_parts import SUFFIXES
from storage.display import escaped, markdown, one_line

LABELING = "label/label-batch"


@flow(name="label-inbox", flow_run_name=lambda: f"look into {one_line(Path(flow_run.parameters['inbox']).name)}")
def label_inbox(
    inbox: Path,
    data: Path,
    *,
    recipe: RecipeName = "demo",
    part_size: PositiveInt = 64,
    quiet_s: NonNegativeFloat = 60,
) -> State[Any]:
    """Start a labeling run for every manifest that is new or was changed, each once.

    A manifest that cannot be used fails in its own run, which names it, and stops no other.

    Args:
        inbox: Folder that is searched for JSONL and CSV manifests, with its subfolders.
        data: Folder of the data set that all of them are labeled into.
        recipe: Which experts and thresholds.
        part_size: Pairs in a part, the unit of retry and commit.
        quiet_s: Seconds since the last change before a manifest counts as written to its end.

    Returns:
        Completed; the message counts the manifests.
    """
    rows = []
    for manifest in manifests(inbox):
        if time.time() - manifest.stat().st_mtime < quiet_s:
            rows.append({"manifest": str(manifest), "state": "being written", "run": ""})
            continue
        run = _start(manifest, {"data": str(data), "recipe": recipe, "part_size": part_size})
        rows.append({"manifest": str(manifest), "state": _words(run), "run": run.name})
    for row in rows:
        if row["state"].startswith("Failed"):
            get_run_logger().warning("%s: %s", one_line(row["manifest"]), escaped(row["state"]))
    if rows:
        description = markdown(f"manifests in {inbox}, and their runs")
        create_table_artifact(as_cells(rows), key="label-inbox", description=description)
    waiting = sum(not row["run"] for row in rows)
    return Completed(message=one_line(f"{len(rows)} manifests in '{inbox}', {waiting} of them being written"))


def manifests(inbox: Path) -> Iterator[Path]:
    """Manifests in a folder and below, sorted; hidden ones are left out."""
    for path in sorted(inbox.rglob("*")):
        hidden = any(name.startswith(".") for name in path.relative_to(inbox).parts)
        if path.suffix in SUFFIXES and path.is_file() and not hidden:
            yield path


def _start(manifest: Path, parameters: dict[str, Any]) -> FlowRun:
    """The manifest's run: a new one, or the one that it got when an earlier look found it as it is now."""
    seen = manifest.stat()
    key = f"{manifest.resolve()} {seen.st_size} {seen.st_mtime_ns} {sorted(parameters.items())}"
    return start_once(LABELING, {"manifest": str(manifest), **parameters}, key)


def _words(run: FlowRun) -> str:
    state = run.state
    if state is None:
        return "unknown"
    return f"{state.name}: {state.message}" if state.is_failed() else str(state.name)
