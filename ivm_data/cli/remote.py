"""`ivm push` and `pull`: a data set in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivm_data.cli.console import say
from ivm_data.cli.options import DataFolder

if TYPE_CHECKING:
    from storage.upkeep.remote import Transfer

Url = Annotated[str, typer.Argument(help="s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.", show_default=False)]


def push(data: DataFolder, url: Url) -> None:
    """Send what an object store lacks, each part's commit last: `ivm push --data data s3://bucket/data`."""
    from storage.upkeep import remote

    _say_transfer(remote.push(data, url))


def pull(
    url: Url, out: Annotated[Path, typer.Option(help="Folder of the data set; what it has already is not fetched.")]
) -> None:
    """Fetch what is committed in an object store: `ivm pull s3://bucket/data --out data`."""
    from ivm_data.outputs import check
    from storage.upkeep import remote

    check("data set", out)
    _say_transfer(remote.pull(url, out))


def _say_transfer(done: Transfer) -> None:
    say(f"{done.moved} files, {done.size / 2**20:.1f} MiB; {done.skipped} were there already.")
