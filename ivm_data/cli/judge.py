"""`ivm train-judge`: a judge of labels that people's verdicts teach."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from ivm_data.cli.console import OutputFormat, progress_bar, say, show, warn
from ivm_data.cli.options import DataFolder, parse_changes

NO_HELP = "the judge says no more of these verdicts than the quality does, so {what}; give it more of them"


def train_judge(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the judge and its card.")],
    recipe: Annotated[str | None, typer.Option(help="Hash of the recipe, where the folder holds several.")] = None,
    changes: Annotated[list[str], typer.Option("--set", help="Replace a field: least=100")] = [],  # noqa: B006
    apply: Annotated[bool, typer.Option("--apply", help="Let the judge decide the quality, where it helps.")] = False,
    who: Annotated[str, typer.Option(help="Who decides.", show_default="the user's name")] = "",
    form: Annotated[OutputFormat, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Teach a judge by reviews and human masks: `ivm train-judge --data data --out judge`."""
    from ivm_data.config import override
    from ivm_data.outputs import check
    from ivm_data.quality.judge import JudgeConfig
    from ivm_data.quality.judge_training import HEAD
    from ivm_data.quality.judge_training import train_judge as train
    from ivm_data.quality.judging import apply_judge

    config = override(JudgeConfig(), parse_changes(changes))
    check("judge", out, data)
    with progress_bar() as bar:
        task = bar.add_task("judge", total=None)
        done = train(data, out, recipe or "", config, lambda labels: bar.update(task, advance=labels))
    show(["verdicts by truth", "labels"], sorted(done.judge.by.items()), form)
    show(HEAD, done.rows(), form, title="on images that a forest did not see")
    say(f"{out}: {done.judge.name}, {done.judge.verdicts} verdicts, {done.judged} labels judged")
    if done.said.kept:
        say(f"{done.said.kept} reviews in random order were left out: they judge gates, see 'ivm gate --precision'")
    if not done.helps:
        warn(NO_HELP.format(what="it is not applied" if apply else "do not apply it"))
    elif apply:
        gate = apply_judge(data, done.judge, who=who or getpass.getuser())
        say(f"gate {gate.hash} is current; take it back with: ivm gate --data {data} --undo")
    else:
        say(f"look at what it changes: ivm gate --data {data} --judge {out}; --apply makes it so")
