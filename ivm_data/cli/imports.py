"""`ivm import`: foreign data sets as our manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli.console import console, show, warn
from ivm_data.cli.labels import BAD_INPUT_STATUS
from ivm_data.cli.options import parse_changes
from storage.errors import ConfigError


def import_(
    name: Annotated[str, typer.Argument(help="Name of the source; without it the sources are listed.")] = "",
    out: Annotated[Path | None, typer.Option(help="Manifest to write, a .jsonl file.", show_default=False)] = None,
    options: Annotated[list[str], typer.Option("--set", help="An option of the source: instances=val.json")] = [],  # noqa: B006
    source: Annotated[
        str, typer.Option(help="Name of the data set in the manifest.", show_default="the source's")
    ] = "",
) -> None:
    """Read a foreign data set: `ivm import coco --set instances=instances_val2017.json --out coco.jsonl`."""
    from ivm_data.sources.foreign.foreign_reader import write_manifest
    from ivm_data.sources.foreign.readers import describe, describe_all, read

    if not name:
        rows = [(source.name, source.reads, source.makes) for source in describe_all()]
        show(["source", "reads", "what becomes what"], rows)
        return
    if out is None:
        known = describe(name)
        raise ConfigError(
            f"give --out MANIFEST.jsonl, and with --set what {name} needs ({', '.join(known.needs)}) "
            f"or may have ({', '.join(known.options)})"
        )
    written = write_manifest(read(name, parse_changes(options)), out, source or name)
    console.print(f"{out}: {written.pairs} pairs, {written.labeled} of them labeled")
    if written.bad:
        warn(f"{written.bad} records could not be used; 'ivm label' makes each a rejection 'bad_source_record'")
        raise typer.Exit(BAD_INPUT_STATUS)
