"""`ivm gate`: decide anew about labels that are there, looked at before it is applied, and reversible."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ivm_data.cli.console import OutputFormat, say, show, show_arrow, warn
from ivm_data.cli.options import DataFolder, parse_changes
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.quality.promised import Promised
    from ivm_data.quality.regate import Preview
    from storage.data_set import DataSet


def gate(
    data: DataFolder,
    accept: Annotated[float | None, typer.Option(help="Accept from this quality on.", show_default=False)] = None,
    reject: Annotated[float | None, typer.Option(help="Reject below this quality.", show_default=False)] = None,
    values: Annotated[list[str], typer.Option("--set", help="Another threshold: min_understood=0.8")] = [],  # noqa: B006
    calibration: Annotated[
        str,
        typer.Option(help="A file of 'ivm calibrate', zoo:calibration.json, uncalibrated, or written."),
    ] = "",
    judge: Annotated[
        Path | None,
        typer.Option(help="A folder of 'ivm train-judge'; labels that came since are judged.", show_default=False),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Accept as much as can be, with this share right.", show_default=False)
    ] = None,
    confidence: Annotated[float, typer.Option(help="Probability that --precision holds.")] = 0.95,
    by: Annotated[
        Literal["source", "kind", "answer"] | None, typer.Option(help="--precision for each of these by itself.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    name: Annotated[str, typer.Option(help="What to call the gate; alone, an earlier gate of this name.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Make the gate current.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Make current what was so before.")] = False,
    limit: Annotated[int, typer.Option(help="Examples to show.")] = 10,
    sheet: Annotated[Path | None, typer.Option(help="PNG file to draw the examples into.", show_default=False)] = None,
    who: Annotated[str, typer.Option(help="Who decides.", show_default="the user's name")] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Decide anew without running an expert: `ivm gate --data data --accept 0.9`; without changes: the log."""
    from ivm_data.outputs import check
    from ivm_data.quality import regate
    from ivm_data.quality.new_gate import GateRequest
    from storage.data_set import DataSet
    from storage.gates import book

    if undo and (apply or accept or reject or values or calibration or judge or precision or name):
        raise ConfigError("give --undo alone: it makes current what was so before the latest --apply")
    given = {key: value for key, value in (("accept", accept), ("reject", reject)) if value is not None}
    asked = GateRequest(parse_changes(values) | given, calibration, precision, confidence, by or "", name, judge)
    if sheet is not None:
        check("gate", sheet, data)
    asked.judge_new_labels(data)
    with DataSet.open(data, recipe, gate=book.WRITTEN if undo else None) as opened:
        if undo:
            entry = book.undo(data, opened.recipe, who=who or getpass.getuser())
            say(f"recipe {entry.recipe} is decided by {entry.name or entry.gate or book.WRITTEN} again")
        elif asked.changes or name:
            found, promise = asked.of(opened)
            if promise is not None:
                _show_promise(opened, promise, form)
            seen = regate.preview(opened, found, limit)
            _show(seen, form)
            if sheet is not None:
                _draw(opened, seen, sheet)
            if apply:
                entry = regate.apply(data, found, name=name, who=who or getpass.getuser())
                say(f"gate {entry.name or entry.gate} is current; take it back with: ivm gate --data {data} --undo")
        elif apply:
            raise ConfigError(
                "say what to apply: --accept 0.9, --calibration FILE, --judge DIR, or --name of an earlier gate"
            )
        else:
            _show_log(opened, form)


def _show_promise(data: DataSet, found: Promised, form: OutputFormat) -> None:
    """What the promise rests on, and what is missing.

    Raises:
        ConfigError: nothing can be promised.
    """
    from ivm_data.quality.promised import sentence

    rows = found.rows()
    show(list(rows[0]), [tuple(row.values()) for row in rows], form, title=found.title)
    missing = found.missing(data)
    if not found.holds:
        raise ConfigError(f"the promise holds at no threshold; {missing}")
    for doubt in filter(None, (missing, found.doubt)):
        warn(doubt)
    say(sentence(found.gate))


def _draw(data: DataSet, seen: Preview, out: Path) -> None:
    from ivm_data.outputs import SHEET
    from ivm_data.report.contact_sheet import changes_sheet
    from ivm_data.report.story_picture import save
    from storage.catalog import Catalog

    with Catalog(data) as catalog:
        drawn_HWC = changes_sheet(catalog, seen.gate.recipe, seen.moves)
    if drawn_HWC is None:
        warn("no label changes its status: there is nothing to draw")
    else:
        save(drawn_HWC, out, SHEET)
        say(f"{out}")


def _show(seen: Preview, form: OutputFormat) -> None:
    title = f"gate {seen.gate.hash}, beside {seen.before}"
    show_arrow(seen.by_source, form, title=title)
    show_arrow(seen.by_kind, form)
    show_arrow(seen.sides, form, title="what changes sides")
    show_arrow(seen.changed, form)


def _show_log(opened: DataSet, form: OutputFormat) -> None:
    from ivm_data.quality import regate
    from storage.gates import book

    current = regate.current(opened)
    entries = [entry for entry in opened.book.entries if entry.recipe == opened.recipe]
    rows = [(entry.at, entry.act, entry.gate or book.WRITTEN, entry.name, entry.who) for entry in entries]
    show(["at", "act", "gate", "name", "who"], rows, form, title=f"recipe {opened.recipe}")
    config = current.config
    say(
        f"now: {current.hash if opened.recipe in opened.gates else book.WRITTEN}, accept {config.accept}, "
        f"reject {config.reject}"
    )
