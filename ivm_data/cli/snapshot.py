"""`ivm compact` and `ivm snapshot`: the files of a data set, and what they held at a moment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ivm_data.cli.console import OutputFormat, say, show, warn
from ivm_data.cli.options import DataFolder

if TYPE_CHECKING:
    from storage.tables.snapshots import Entry

app = typer.Typer(help="Freeze, list, compare and verify what a data set holds.", no_args_is_help=True)


def compact(
    data: DataFolder,
    recipe: Annotated[str | None, typer.Option(help="Hash of one recipe.", show_default="every recipe")] = None,
    target_rows: Annotated[
        int | None,
        typer.Option(help="Most outcomes in a file.", show_default="16384, more from two million on"),
    ] = None,
) -> None:
    """Join many small files into few large ones, with the same rows: `ivm compact --data data`."""
    from storage.upkeep.compact import compact as join

    done = join(data, recipe, target_rows)
    show(["recipe", "files before", "files after", "rows"], [(c.recipe, c.before, c.after, c.rows) for c in done])


@app.command("create")
def create(data: DataFolder) -> None:
    """Write down what the data set holds now: `ivm snapshot create --data data`."""
    from storage.data_set import DataSet
    from storage.errors import ConfigError

    with DataSet.open(data) as opened:
        if not opened.now().entries:
            raise ConfigError(f"'{data}' holds nothing to freeze; label something first with 'ivm label --out {data}'")
        say(opened.freeze().name)


@app.command("list")
def show_list(data: DataFolder, form: Annotated[OutputFormat, typer.Option("--format")] = "table") -> None:
    """Show the snapshots of a data set, oldest first."""
    from storage.tables import snapshots

    kinds = ("labels", *snapshots.FACTS, snapshots.GATES)
    found = [snapshots.load(data, name) for name in snapshots.names(data)]
    show(["snapshot", "created", *kinds], [(s.name, s.created_at, *map(s.rows, kinds)) for s in found], form)


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="Name of a snapshot, or its first digits.")],
    after: Annotated[str, typer.Argument(help="Name of another one, or 'now'.")],
    data: DataFolder,
    form: Annotated[OutputFormat, typer.Option("--format")] = "table",
) -> None:
    """Show what changed and how far scores and sources drifted: `ivm snapshot diff --data data 3f9c now`."""
    from ivm_data.quality.drift import drift
    from storage.data_set import DataSet
    from storage.tables import snapshots

    if after == "now":
        with DataSet.open(data) as opened:
            after = opened.freeze().name
    old, new = (snapshots.load(data, name) for name in (before, after))
    changed = snapshots.difference(old, new)
    removed, added = (_rows_by_owner(entries) for entries in (changed.removed, changed.added))
    rows = [(*key, removed[key], added[key]) for key in sorted(removed | added)]
    show(["kind", "of", "rows removed", "rows added"], rows, form, title=f"{old.name} -> {new.name}")
    found = drift(data, old.name, new.name)
    shown = [(d.what, d.psi, *d.interval, d.noise, d.verdict) for d in found]
    show(["column", "PSI", "from", "to", "noise", "verdict"], shown, form)


@app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="Name of the snapshot, or its first digits.")], data: DataFolder
) -> None:
    """Read every row that a snapshot lists and compare its hash: `ivm snapshot verify --data data 3f9c`."""
    from storage.data_set import DataSet
    from storage.tables import snapshots
    from storage.upkeep.verify import verify_snapshot

    snapshot = snapshots.load(data, name)
    with DataSet.open(data) as opened:
        wrong = verify_snapshot(opened, snapshot)
    for line in wrong:
        warn(line)
    if wrong:
        raise typer.Exit(1)
    say(f"snapshot {snapshot.name}: all {len(snapshot.entries)} parts are as they were")


def _rows_by_owner(entries: tuple[Entry, ...]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        counts[entry.kind, entry.owner] += entry.rows
    return counts
