"""The `gate` flow: decide anew about labels that are there, without running an expert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run
from pydantic import Field, NonNegativeInt

from flows.artifacts import as_cells
from storage.display import markdown, one_line

GATE_APPLIED = "ivm.gate.applied"
"""Event: another gate is current. Its payload has `data`, `recipe`, `gate` and the accepted labels before and after."""

Share = Annotated[float, Field(ge=0, le=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]


@flow(name="gate", flow_run_name=lambda: f"gate of {one_line(Path(flow_run.parameters['data']).name)}")
def gate(
    data: Path,
    *,
    recipe: str = "",
    accept: Share | None = None,
    reject: Share | None = None,
    thresholds: dict[str, Any] | None = None,
    calibration: str = "",
    judge: Path | None = None,
    precision: Inside | None = None,
    confidence: Inside = 0.95,
    by: Literal["", "source", "kind", "answer"] = "",
    name: str = "",
    apply: bool = False,
    undo: bool = False,
    limit: NonNegativeInt = 12,
) -> str:
    """Decide anew about labels that are there: look at what a gate changes, apply it, or take it back.

    Args:
        data: Folder of a labeled data set.
        recipe: Hash of the recipe; may be left out where the data set holds only one.
        accept: Accept from this quality on.
        reject: Reject below this quality.
        thresholds: Other fields of the gate, for example {"min_understood": 0.8}.
        calibration: Quality by this, a file of `ivm calibrate`, zoo:calibration.json, uncalibrated, or written.
        judge: Quality by this, a folder of `ivm train-judge`; labels that came since are judged.
        precision: Accept as much as can be, with this share right.
        confidence: Probability that the precision holds.
        by: Promise the precision for each source, kind or answer by itself.
        name: What to call the gate; alone, an earlier gate of this name.
        apply: Make the gate current; without it the run is a preview.
        undo: Make current what was so before.
        limit: Labels that change sides to show.

    Returns:
        The hash of the gate, "written" for what labeling wrote.
    """
    from ivm_data.quality import regate
    from ivm_data.quality.new_gate import GateRequest
    from storage.data_set import DataSet
    from storage.errors import ConfigError
    from storage.gates import book

    given = {key: value for key, value in (("accept", accept), ("reject", reject)) if value is not None}
    asked = GateRequest(dict(thresholds or {}) | given, calibration, precision, confidence, by, name, judge)
    if undo == (asked.changes or bool(name)):
        raise ConfigError("say what to decide: thresholds, a calibration or a precision, the name of a gate, or undo")
    before = accepted_now(data, recipe)
    asked.judge_new_labels(data)
    with DataSet.open(data, recipe or None, gate=book.WRITTEN if undo else None) as opened:
        if undo:
            entry = book.undo(data, opened.recipe, who="flow gate")
        else:
            found, promise = asked.of(opened)
            if promise is not None:
                _show_promise(opened, promise)
            _show(opened, regate.preview(opened, found, limit))
            if not apply:
                return found.hash
            entry = regate.apply(data, found, name=name, who="flow gate")
    announce(data, entry.recipe, entry.gate or book.WRITTEN, before)
    return entry.gate or book.WRITTEN


def _show_promise(data: Any, found: Any) -> None:
    from ivm_data.quality.promised import sentence
    from storage.errors import ConfigError

    log, missing = get_run_logger(), found.missing(data)
    create_table_artifact(as_cells(found.rows()), key="gate-promise", description=markdown(found.title))
    if not found.holds:
        raise ConfigError(f"the promise holds at no threshold; {missing}")
    for doubt in filter(None, (missing, found.doubt)):
        log.warning("%s", doubt)
    log.info("%s", sentence(found.gate))


def _show(data: Any, seen: Any) -> None:
    """What the gate changes, as tables and as a picture."""
    from ivm_data.report.contact_sheet import changes_sheet
    from ivm_data.report.gallery import data_uri
    from storage.catalog import Catalog

    title = markdown(f"gate {seen.gate.hash}, beside {seen.before}")
    for key in ("by_source", "by_kind", "sides", "changed"):
        table = as_cells(getattr(seen, key).to_pylist())
        create_table_artifact(table, key=f"gate-{key.replace('_', '-')}", description=title)
    with Catalog(data) as catalog:
        sheet_HWC = changes_sheet(catalog, seen.gate.recipe, seen.moves)
    if sheet_HWC is not None:
        create_image_artifact(data_uri(sheet_HWC), key="gate-contact-sheet", description=title)


def accepted_now(data: Path, recipe: str) -> int:
    """Labels that the current gate accepts."""
    from flows.trainings import LabelState

    return LabelState.of(data, recipe).accepted


def announce(data: Path, recipe: str, gate_hash: str, before: int) -> None:
    """Emit the event that another gate is current."""
    after = accepted_now(data, recipe)
    get_run_logger().info("%d labels were accepted, %d are now", before, after)
    emit_event(
        GATE_APPLIED,
        resource={"prefect.resource.id": f"ivm.gate.{recipe}", "prefect.resource.name": gate_hash},
        payload={
            "data": str(data.resolve()), "recipe": recipe, "gate": gate_hash,
            "accepted_before": before, "accepted": after, "accepted_new": after - before,
        },
    )  # fmt: skip
