"""Compaction by itself: while a run commits parts, its data set keeps to some hundred files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pyarrow as pa

from storage.errors import IvmError
from storage.parts import layout
from storage.parts.part_files import is_compacted
from storage.upkeep.compact import compact_unless_busy

_LOG = logging.getLogger(__name__)

PARTS = 256
"""Parts in files of their own beyond which a recipe's files are joined while parts are committed."""
PARTS_AT_THE_END = 64
"""The same when a run ends."""


class Tidy:
    """Joins the files of a recipe's parts where there are many. Readers and other writers go on meanwhile.

    It never fails a run: what is in its way is logged once, and the files stay as they are.

    Args:
        active: false to leave all files as they are.
    """

    def __init__(self, data: Path, recipe: str, active: bool = True) -> None:
        self.data, self.recipe, self.active = data, recipe, active
        self._since = 0

    def committed(self, fresh: bool = True) -> None:
        """A part was committed, now if it is fresh. The folder is listed once for every `PARTS` of these."""
        self._since += fresh
        if self._since >= PARTS:
            self._since = 0
            self._tidy(PARTS - 1)

    def ended(self) -> None:
        """The run is over."""
        self._tidy(PARTS_AT_THE_END)

    def _tidy(self, most: int) -> None:
        if not self.active:
            return
        try:
            if _own_files(self.data / "labels" / self.recipe) > most and compact_unless_busy(self.data, self.recipe):
                _LOG.info("the files of recipe %s are joined", self.recipe)
        except (IvmError, OSError, pa.ArrowException) as error:
            self.active = False
            _LOG.warning(
                "the files of recipe %s stay as they are, as they cannot be joined: %s; see to it, then: "
                "ivm compact --data %s",
                self.recipe, error, self.data,
            )  # fmt: skip


def _own_files(folder: Path) -> int:
    """Parts in files of their own."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sum(name.endswith(layout.LIGHT) and not is_compacted(name.removesuffix(layout.LIGHT)) for name in names)
