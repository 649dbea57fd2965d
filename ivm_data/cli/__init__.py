"""`ivm`: every command is a thin door to a library call."""

from __future__ import annotations

import sys

from ivm_data.cli.app import app
from ivm_data.cli.console import fail
from storage.errors import IvmError

__all__ = ["main"]


def main() -> None:
    """Run the command line; an error of the engine becomes one clean line and exit status 2."""
    try:
        app()
    except IvmError as error:
        fail(error)
        sys.exit(2)
