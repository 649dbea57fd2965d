"""`ivm sql`, `query`, `report`, `figure`, `reliability`: what is known of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import OutputFormat, say, show, show_arrow, warn
from ivm_data.cli.options import DataFolder, NamedGate, parse_changes

if TYPE_CHECKING:
    from storage.catalog import Catalog

FigureName = Literal["area", "weights"]
Snapshot = Annotated[
    str | None, typer.Option(help="Name of a snapshot to ask instead.", show_default="the data set as it is now")
]


def sql(
    data: DataFolder,
    query: Annotated[str, typer.Argument(help="SQL over the views; without it the views are listed.")] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
    snapshot: Snapshot = None,
    gate: NamedGate = None,
) -> None:
    """Ask in SQL: `ivm sql --data data "select status, count(*) from labels group by all"`."""
    from storage.catalog import Catalog

    with Catalog(data, snapshot, gate) as catalog:
        warn_of_problems(catalog, data)
        show_arrow(catalog.sql(query) if query else catalog.describe(), form)


def query(
    data: DataFolder,
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the query; without it the queries are listed.", autocompletion=completions.queries
        ),
    ] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
    values: Annotated[list[str], typer.Option("--with", help="Set a parameter of the query: limit=5")] = [],  # noqa: B006
    snapshot: Snapshot = None,
    gate: NamedGate = None,
) -> None:
    """Run a named query: `ivm query --data data acceptance_by_kind`."""
    from storage.catalog import Catalog
    from storage.sql.queries import named_queries

    if not name:
        show(["query", "answers"], [(q.name, q.description) for q in named_queries()], form)
        return
    with Catalog(data, snapshot, gate) as catalog:
        warn_of_problems(catalog, data)
        show_arrow(catalog.query(name, **parse_changes(values)), form, title=name)


def report(
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")],
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    gate: NamedGate = None,
) -> None:
    """Write one self-contained HTML page about a data set: `ivm report --data data -o report.html`."""
    from ivm_data.outputs import check
    from ivm_data.report.build import write_report

    check("report", out, data)
    say(f"{write_report(data, out, recipe=recipe, gate=gate)}")


def figure(
    name: Annotated[FigureName, typer.Argument(help="area: the paper's Figure 5; weights: its Figure 10b.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="SVG, PNG or PDF file to write.")],
    values: Annotated[list[str], typer.Option("--with", help="Set a parameter of the query behind it: bins=40")] = [],  # noqa: B006
    snapshot: Snapshot = None,
) -> None:
    """Draw a figure of the paper about this data set: `ivm figure area --data data -o area.svg`."""
    from ivm_data.outputs import check
    from ivm_data.report.figures import draw
    from storage.catalog import Catalog

    check("figure", out, data)
    with Catalog(data, snapshot) as catalog:
        warn_of_problems(catalog, data)
        draw(catalog, name, out, parse_changes(values))
    say(f"{out}")


def reliability(
    data: DataFolder, form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table"
) -> None:
    """Estimate each expert's sensitivity and specificity without human masks: `ivm reliability --data data`."""
    from ivm_data.quality.reliability import estimate

    rows = [(r.recipe, r.expert, r.labels, r.sensitivity, r.specificity) for r in estimate(data)]
    show(["recipe", "expert", "labels", "sensitivity", "specificity"], rows, form)


def warn_of_problems(catalog: Catalog, data: Path) -> None:
    """Name the files that the catalog left out, or say that there are none, and what to do about it."""
    for problem in catalog.problems:
        warn(str(problem))
    if not catalog.problems and not len(catalog.sql("SELECT 1 FROM recipes LIMIT 1")):
        warn(f"no part of a data set is in '{data}' yet; is it the folder that 'ivm label --out' was given?")
    if catalog.problems:
        warn("nothing of these files is in the answer: move them out of the data folder, and label again")
