"""The `ivm` command, put together; heavy imports happen inside a command, so that `ivm --help` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from ivm_data.cli import (
    clean,
    complicate,
    doctor,
    evaluate,
    explain,
    exports,
    gate,
    imports,
    judge,
    labels,
    models,
    page,
    questions,
    remote,
    retrack,
    review,
    rewrite,
    select,
    snapshot,
    zoo,
)
from ivm_data.cli.console import answer_in_json, say, show_logs
from ivm_data.cli.usage import Commands
from storage import __version__

app = typer.Typer(
    name="ivm",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"ivm-engine {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Show what happens; -vv for tracebacks, too.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, an object a line, for programs.")] = False,
) -> None:
    """The open data engine for instruction-guided visual masking."""
    show_logs(verbose)
    answer_in_json(as_json)


for command in (
    labels.world,
    labels.label,
    rewrite.rewrite,
    labels.calibrate,
    doctor.doctor,
    questions.sql,
    questions.query,
    questions.report,
    questions.figure,
    questions.reliability,
    explain.explain,
    review.review,
    retrack.retrack,
    clean.clean,
    judge.train_judge,
    select.select,
    gate.gate,
    snapshot.compact,
    remote.push,
    remote.pull,
    complicate.complicate,
    complicate.mix,
    models.train,
    models.convert,
    models.mask,
    page.app,
    evaluate.evaluate,
    evaluate.vstar,
    evaluate.search_world,
):
    app.command()(command)

app.command("import")(imports.import_)
app.command()(exports.export)
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(zoo.app, name="zoo")
