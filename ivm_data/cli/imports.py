"""`ivm import`: foreign data sets as our manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivm_data.cli import completions
from ivm_data.cli.console import say, show, warn
from ivm_data.cli.labels import BAD_INPUT_STATUS
from ivm_data.cli.options import parse_changes
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_data.sources.foreign.common.manifest_writer import Written


def import_(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the source; without it the sources are listed.", autocompletion=completions.sources
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Manifest to write, a .jsonl file.", show_default=False)] = None,
    options: Annotated[list[str], typer.Option("--set", help="An option of the source: instances=val.json")] = [],  # noqa: B006
    source: Annotated[
        str, typer.Option(help="Name of the data set in the manifest.", show_default="the source's")
    ] = "",
) -> None:
    """Read a foreign data set: `ivm import coco --set instances=instances_val2017.json --out coco.jsonl`."""
    from ivm_data.outputs import check
    from ivm_data.sources.foreign.common.manifest_writer import write_manifest
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
    check("manifest", out)
    _report(out, write_manifest(read(name, parse_changes(options)), out, source or name))


def _report(out: Path, written: Written) -> None:
    """Say what became what; records that cannot be used end the command with a status of their own."""
    outcome = f"{written.labeled} of them labeled ({written.absent} with nothing to find), {written.held_out} held out"
    say(f"{out}: {written.pairs} pairs, {outcome}, {written.bad} bad records")
    more = {
        f"{written.united} pairs united with one of the same image and instruction": written.united,
        f"{written.duplicates} pairs repeat another one; 'ivm label' takes one of each": written.duplicates,
        f"left out: {', '.join(f'{count} {kind}' for kind, count in written.left_out.most_common())}": written.left_out,
    }
    for text in (text for text, count in more.items() if count):
        say(text)
    if written.conflicts:
        warn(
            f"{written.conflicts} pairs contradict another one of the same image and instruction; 'ivm label' makes "
            "each a rejection 'conflicting_targets'"
        )
    if written.bad:
        warn(
            f"{written.bad} records could not be used; 'ivm label' makes each a rejection 'bad_source_record'; the "
            f"first: {written.first_bad}"
        )
    if written.bad or written.conflicts:
        raise typer.Exit(BAD_INPUT_STATUS)
