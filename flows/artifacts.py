"""Progress and tables as Prefect artifacts, for every flow."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from logging import Logger, LoggerAdapter
from typing import Any, cast
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from storage.common.markdown import markdown_table
from storage.display import markdown

_LOG = logging.getLogger(__name__)


class ProgressBoard:
    """One progress artifact that lives as long as the run."""

    def __init__(self, key: str, counts: Mapping[str, str]) -> None:
        self._id = cast("UUID", create_progress_artifact(0.0, key=key, description=as_markdown(counts)))

    def show(self, percent: float, counts: Mapping[str, str]) -> None:
        """Bring the artifact up to date."""
        _update(self._id, percent, as_markdown(counts))


class StageBoard:
    """One progress artifact for a work of several stages, each with its own count; also logged.

    Args:
        every: least seconds between two updates within a stage; each is a request to the server.
    """

    def __init__(self, key: str, log: Logger | LoggerAdapter[Logger], every: float = 2.0) -> None:
        self._id = cast("UUID", create_progress_artifact(0.0, key=key, description="starting"))
        self._log, self._every = log, every
        self._stage, self._next = "", 0.0

    def show(self, stage: str, done: int, total: int) -> None:
        """Bring the artifact up to date, unless that was done a moment ago."""
        if stage == self._stage and done < total and time.monotonic() < self._next:
            return
        if stage != self._stage or done == total:
            self._log.info("%s %d/%d", stage, done, total)
        _update(self._id, 100 * done / total, f"{stage}: {done} of {total}")
        self._stage, self._next = stage, time.monotonic() + self._every


def _update(artifact: UUID, percent: float, description: str) -> None:
    """A server that is away for a moment must not end hours of work: what is not shown now is shown next time."""
    try:
        update_progress_artifact(artifact, percent, description=description)
    except (HTTPError, PrefectException) as error:
        _LOG.warning("progress not shown, %s: %s", type(error).__name__, error)


def as_markdown(counts: Mapping[str, str]) -> str:
    """Names and values as a Markdown table of one row."""
    return markdown_table(list(map(markdown, counts)), [list(map(markdown, counts.values()))])


def as_cells(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table artifact: JSON values only, numbers to four digits, NaN as nothing.

    Prefect's pages read every text in a cell as Markdown, so that text from data is escaped.
    """
    return [{name: _cell(value) for name, value in row.items()} for row in rows]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value if isinstance(value, int) or value is None else markdown(str(value))
