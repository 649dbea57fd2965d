"""What a person sees in the terminal. Everything printed is plain text: nothing in it is taken for markup or obeyed."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from storage.display import escaped, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.progress import Progress, TaskID

OutputFormat = Literal["table", "csv", "json"]


class _Mode:
    """How to answer.

    Attributes:
        json: every line on standard output is a JSON object.
    """

    json = False


_console = Console(markup=False, emoji=False)
_errors = Console(stderr=True, markup=False, emoji=False)


def answer_in_json(wanted: bool) -> None:
    """From now on, write JSON objects to standard output, one a line; warnings and errors stay text on the other."""
    _Mode.json = wanted


def say(text: str, *, highlight: bool = True) -> None:
    """A line, or several, on standard output; a long line is not broken. In JSON it is the `message`."""
    if _Mode.json:
        print(json.dumps({"message": text}))
        return
    _console.print(escaped(text), highlight=highlight, soft_wrap=True)


def fail(text: str) -> None:
    """One error on standard error, without a traceback."""
    _print_error(Text("error:", "bold red"), text)


def warn(text: str) -> None:
    """A warning on standard error."""
    _print_error(Text("warning:", "bold yellow"), text)


class LogLines(logging.Handler):
    """What the libraries log, a line each on standard error; a traceback where one comes with it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        colour = "yellow" if record.levelno >= logging.WARNING else "dim"
        _print_error(Text(f"{record.levelname.lower()}:", colour), self.format(record))


def show_logs(verbose: int) -> None:
    """Show what the engine's packages log: warnings, with 1 what happens, with 2 or more everything."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    for package in ("storage", "ivm_model", "ivm_data"):
        logger = logging.getLogger(package)
        logger.handlers = [LogLines()]
        logger.setLevel(level)


def show(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: OutputFormat = "table", title: str = "") -> None:
    """Rows as a table for people, or as CSV or JSON lines for programs; CSV is escaped where a terminal reads it.

    Where everything is answered in JSON, a row names its table, as one answer may hold several.
    """
    if _Mode.json and form == "table":
        columns, rows, form = ["table", *columns], ([title, *row] for row in rows), "json"
    if form == "csv":
        lines = [columns, *rows]
        csv.writer(sys.stdout).writerows(
            [[one_line(str(cell)) for cell in line] for line in lines] if sys.stdout.isatty() else lines
        )
    elif form == "json":
        for row in rows:
            print(json.dumps(dict(zip(columns, row, strict=True)), default=str))
    else:
        _print_table(columns, list(rows), title)


def show_arrow(table: pa.Table, form: OutputFormat = "table", title: str = "") -> None:
    """An Arrow table, as `show` shows rows."""
    columns = [column.to_pylist() for column in table.columns]
    show(table.column_names, list(zip(*columns, strict=True)), form, title)


def progress_bar() -> Progress:
    """A progress bar with counts and the time that is left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_errors,
    )


class StageBars:
    """A bar for each stage of a work; a stage that comes again has the total of that time, and none passes it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int) -> None:
        """Bring a stage's bar up to date."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._tasks[stage], completed=min(done, total), total=total)


def _print_error(kind: Text, text: str) -> None:
    _errors.print(kind, end=" ")
    _errors.print(escaped(text), highlight=False, soft_wrap=True)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
    """A wide table keeps its lines whole, as in psql; a single row of many columns stands upright."""
    if len(rows) == 1 and len(columns) > 5:
        columns, rows = ("", ""), list(zip(columns, rows[0], strict=True))
    heading = Text(one_line(title), "table.title") if title else None
    table = Table(title=heading, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(one_line(column)), no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row))
    width = Measurement.get(_console, _console.options.update(max_width=10_000), table).maximum
    wide = Console(width=max(width, _console.width))
    wide.print(table)


def _cell(value: Any) -> Text:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Text("-")
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    return Text(one_line(str(value)))
