"""Command lines that cannot be read: one line, with the help that says how."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer
from typer.core import TyperGroup

from ivm_data.cli.console import fail

UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""What an unknown option, a missing argument or a bad value raises."""


class Commands(TyperGroup):
    """Says mistakes in a line, and takes `--json` behind a command too; a command's own `--json` stays its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring `--json` before the command."""
        before = args[: args.index("--")] if "--" in args else args
        command = self.commands.get(next((word for word in before if not word.startswith("-")), ""))
        own = command is not None and any("--json" in option.opts for option in command.params)
        if "--json" in before and not own:
            args = ["--json", *(word for word in before if word != "--json"), *args[len(before) :]]
        return super().parse_args(ctx, args)

    def main(self, *args: Any, standalone_mode: bool = True, **more: Any) -> Any:
        """Run, and end the process with the exit status of what ran."""
        named: Any = {"prog_name": "ivm", **more, "standalone_mode": False}
        try:
            ended = super().main(*args, **named)
        except typer.Abort:
            fail("interrupted; run the same again to go on")
            ended = 1
        except UsageError as error:
            if not standalone_mode:
                raise
            ended = _refused(error)
        if standalone_mode:
            sys.exit(ended if isinstance(ended, int) else 0)
        return ended


def _refused(error: Any) -> int:
    """Say what is wrong in a command line, and where the right way stands; gives the exit status."""
    text = error.format_message().strip().rstrip(".").replace("Value error, ", "")
    if not text or "NoArgs" in type(error).__name__:  # The help is shown already.
        return 2
    command = error.ctx.command_path if error.ctx else "ivm"
    stop = " See" if text.endswith("?") else "; see"
    fail(f"{text[:1].lower()}{text[1:]}{stop} '{command} --help'")
    return 2
