"""`ivm clean`: rules that find bad labels, looked at before they are applied, and reversible."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import OutputFormat, progress_bar, say, show, show_arrow
from ivm_data.cli.options import DataFolder, parse_changes
from storage.errors import ConfigError


def clean(
    data: DataFolder,
    name: Annotated[
        str, typer.Argument(help="Name of the rule; without it the rules are listed.", autocompletion=completions.rules)
    ] = "",
    values: Annotated[list[str], typer.Option("--with", help="Set a parameter of the rule: z=4")] = [],  # noqa: B006
    apply: Annotated[bool, typer.Option("--apply", help="Exclude what the rule finds.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Include again all that the rule excludes.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="Folder or manifest of evaluation images, remembered for split_leakage.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Examples to show.")] = 10,
    who: Annotated[str, typer.Option(help="Who decides.", show_default="the user's name")] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Preview, apply or undo a cleaning rule: `ivm clean --data data area_outlier --with z=4`."""
    from ivm_data.quality import cleaning
    from ivm_data.quality.measures import add_evaluation

    if (apply and undo) or ((apply or undo) and not name):
        raise ConfigError("give the name of one rule and either --apply or --undo")
    _measure(data)
    if against is not None:
        say(f"{add_evaluation(data, against)} evaluation images remembered")
    if not name:
        rows = [
            (o.rule.name, o.found, o.excluded, o.rule.scope, o.rule.query.description) for o in cleaning.overview(data)
        ]
        show(["rule", "found", "excluded", "scope", "finds"], rows, form)
    elif undo:
        say(f"{cleaning.undo(data, name, who or getpass.getuser())} labels included again")
    else:
        found = cleaning.preview(data, name, parse_changes(values), limit)
        show_arrow(found.by_source, form, title=f"{name} {found.parameters}")
        show_arrow(found.examples, form)
        if apply:
            fresh = cleaning.apply(data, found, who or getpass.getuser())
            say(f"{fresh} labels excluded; take it back with: ivm clean --data {data} {name} --undo")


def _measure(data: Path) -> None:
    """Components, perceptual hashes and votes of what is not measured yet."""
    from ivm_data.quality.measures import measure

    with progress_bar() as bar:
        task = bar.add_task("measure", visible=False)
        measure(data, lambda done, total: bar.update(task, completed=done, total=total, visible=True))
