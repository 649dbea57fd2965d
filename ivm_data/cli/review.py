"""`ivm review`: a local page on which people judge and repair labels."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from ivm_data.cli.console import OutputFormat, say, show
from ivm_data.cli.options import DataFolder, parse_changes
from storage.common.extras import extra
from storage.errors import ConfigError


def review(
    data: DataFolder,
    reviewer: Annotated[str, typer.Option(help="Your name; your reviews are kept under it.")] = "",
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to bind to; other than this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    changes: Annotated[
        list[str], typer.Option("--set", help="Replace a field of the recipe's segmenter: options.device=cpu")
    ] = [],  # noqa: B006
    order: Annotated[
        Literal["informative", "random"] | None,
        typer.Option(help="random: verdicts that a promise can rest on.", show_default="as chosen on the page"),
    ] = None,
    limit: Annotated[int, typer.Option(help="Labels to bring in all; 0 for no limit.")] = 0,
    above: Annotated[float, typer.Option(help="Only labels of this quality or a higher one.")] = 0.0,
    label_studio: Annotated[
        Path | None,
        typer.Option(help="A project's export as JSON: only take what its annotators say.", show_default=False),
    ] = None,
    agreement: Annotated[bool, typer.Option("--agreement", help="Only show how far reviewers agree.")] = False,
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Judge and repair labels in a browser: `ivm review --data data --reviewer anna`."""
    if agreement:
        _show_agreement(data, recipe or "", form)
        return
    if label_studio is not None:
        _take(data, label_studio, reviewer, recipe)
        return
    if not reviewer:
        raise ConfigError("say who reviews, for example '--reviewer anna'")
    with extra("review"):
        from ivm_data.review.serve import listen, server
        from ivm_data.review.session import Order, ReviewSession

    if order is None and (limit or above):
        raise ConfigError("--limit and --above need an order, for example '--order random'")
    brought = None if order is None else Order(order == "random", limit, above)
    session = ReviewSession(data, reviewer, recipe, parse_changes(changes), brought)
    with listen(host, port) as bound:
        running, access = server(session, bound, host)
        session.repair.load_ahead()
        say(f"{access.url}  (Ctrl-C ends)", highlight=False)
        running.run(sockets=[bound])


def _show_agreement(data: DataFolder, recipe: str, form: OutputFormat) -> None:
    from ivm_data.quality.reviewer_agreement import Agreement, agreements
    from storage.catalog import Catalog

    with Catalog(data) as catalog:
        rows = [astuple(each) for each in agreements(catalog, recipe)]
    show([field.name for field in fields(Agreement)], rows, form)


def _take(data: Path, project: Path, reviewer: str, recipe: str | None) -> None:
    from ivm_data.review.label_studio_reviews import take_reviews

    taken = take_reviews(data, project, reviewer, recipe)
    rows = [(name, verdict, count) for (name, verdict), count in sorted(taken.verdicts.items())]
    show(["reviewer", "verdict", "reviews"], rows, title=f"{taken.verdicts.total():,} reviews written")
    if taken.left_out:
        show(["left out", "annotations or tasks"], taken.left_out.most_common())
