"""`ivm`: every command is a thin door to a library call."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from ivm_data.cli.app import app
from ivm_data.cli.console import fail, warn
from ivm_data.cli.failures import of_the_machine
from storage.errors import IvmError, IvmWarning

__all__ = ["main"]


def main() -> None:
    """Run the command line; an error of the engine or the machine becomes one clean line and exit status 2."""
    with warnings.catch_warnings():
        warnings.showwarning = _show(warnings.showwarning)
        try:
            app()
        except Exception as error:
            # A DiskError is both: what the machine refused says what was kept, too.
            ours = isinstance(error, IvmError) and not isinstance(error, OSError)
            line = str(error) if ours else of_the_machine(error, next(iter(sys.argv[1:]), ""))
            if line is None:
                raise
            fail(line)
            sys.exit(2)


def _show(otherwise: Callable[..., None]) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, IvmWarning):
            warn(str(message))
        else:
            otherwise(message, category, *where)

    return show
