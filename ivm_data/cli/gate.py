"""`ivm gate`: decide anew about labels that are there, looked at before it is applied, and reversible."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ivm_data.cli.console import OutputFormat, say, show, show_arrow, warn
from ivm_data.cli.options import DataFolder, parse_changes
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.quality.regate import Preview
    from storage.data_set import DataSet
    from storage.gates.gate import By, Gate


def gate(
    data: DataFolder,
    accept: Annotated[float | None, typer.Option(help="Accept from this quality on.", show_default=False)] = None,
    reject: Annotated[float | None, typer.Option(help="Reject below this quality.", show_default=False)] = None,
    values: Annotated[list[str], typer.Option("--set", help="Another threshold: min_understood=0.8")] = [],  # noqa: B006
    calibration: Annotated[
        str,
        typer.Option(help="A file of 'ivm calibrate', zoo:calibration.json, uncalibrated, or written."),
    ] = "",
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
    who: Annotated[str, typer.Option(help="Who decides.", show_default="the user's name")] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Decide anew without running an expert: `ivm gate --data data --accept 0.9`; without changes: the log."""
    from ivm_data.quality import regate
    from storage.data_set import DataSet
    from storage.gates import book

    thresholds = parse_changes(values) | {
        key: value for key, value in (("accept", accept), ("reject", reject)) if value is not None
    }
    changes = bool(thresholds or calibration or precision is not None)
    if precision is not None and "accept" in thresholds:
        raise ConfigError("give --accept or --precision: the precision decides from which quality on to accept")
    if by and precision is None:
        raise ConfigError(f"--by {by} needs a promise, for example --precision 0.95")
    if undo and (apply or changes or name):
        raise ConfigError("give --undo alone: it makes current what was so before the latest --apply")
    with DataSet.open(data, recipe) as opened:
        if undo:
            entry = book.undo(data, opened.recipe, who=who or getpass.getuser())
            say(f"recipe {entry.recipe} is decided by {entry.name or entry.gate or book.WRITTEN} again")
            return
        if not changes and not name:
            if apply:
                raise ConfigError("say what to apply: --accept 0.9, --calibration FILE, or --name of an earlier gate")
            _show_log(opened, form)
            return
        found = regate.current(opened) if changes else opened.book.named(name, opened.recipe)[opened.recipe]
        if thresholds or calibration:
            found = regate.changed(found, thresholds, calibration)
        if precision is not None:
            found = _promise(opened, found, precision, confidence, by or "", form)
        seen = regate.preview(opened, found, limit)
        _show(seen, form)
        if apply:
            entry = regate.apply(data, seen.gate, name=name, who=who or getpass.getuser())
            say(f"gate {entry.name or entry.gate} is current; take it back with: ivm gate --data {data} --undo")


def _promise(data: DataSet, gate: Gate, precision: float, confidence: float, by: By, form: OutputFormat) -> Gate:
    """The gate with thresholds that keep the promise, and what they rest on."""
    from ivm_data.quality.promised import promised, sentence, wanted

    found = promised(data.decided_by(gate), gate, precision, confidence, by)
    rows = [
        (group or "all", p.accept, p.accepted, p.labels, p.coverage, p.judged, p.wrong, p.bound, p.more)
        for group, p in found.groups.items()
    ]
    columns = ["group", "accept", "accepted", "labels", "coverage", "judged", "wrong", "bound", "missing"]
    show(columns, rows, form, title=f"precision {precision:g} with confidence {confidence:g}")
    missing = wanted(data, found.groups)
    if not found.holds:
        raise ConfigError(f"the promise holds at no threshold; {missing}")
    if missing:
        warn(missing)
    if found.silent:
        silent = ", ".join(found.silent)
        warn(f"no label of {silent} was judged: the promise says nothing of these sources; use --by source")
    say(sentence(found.gate))
    return found.gate


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
