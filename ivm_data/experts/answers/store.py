"""Answers of experts by what was asked, in one SQLite file of bounded size."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ivm_data.experts.common.sqlite_file import SqliteFile
from storage.common.validation import Checked, Positive
from storage.errors import ConfigError, TransientError

FILE = "answers.sqlite"
_TABLES = """
    CREATE TABLE IF NOT EXISTS answers (
        key BLOB PRIMARY KEY, expert TEXT NOT NULL, rows INTEGER NOT NULL, used INTEGER NOT NULL, value BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_expert ON answers (expert, rows);
    CREATE INDEX IF NOT EXISTS by_use ON answers (used);"""
_KEYS_AT_ONCE = 500
_MOST_DROPPED = 20
"""A store that is full drops a twentieth of its answers at once."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnswersConfig(Checked):
    """Where answers are kept; it decides nothing about a label and is no part of a recipe.

    Attributes:
        folder: on a local disk; it is made where it is missing.
        gib: the file grows no larger than this, in GiB; a log of some MiB lies beside it while it is written.
    """

    folder: str
    gib: Positive = 2.0


@dataclass(frozen=True)
class Stored:
    """An answer as it is kept.

    Attributes:
        expert: what tells the expert from every other one.
        rows: questions that it answers.
    """

    expert: str
    rows: int
    value: bytes


class AnswerStore:
    """Key -> answer. Threads and processes may share it; a killed one loses at most what it was writing.

    Where there is no room, what no run has read since this process began goes first, the longest unread before others;
    where everything was read, nothing more is kept: a run larger than the store finds the same part of it each time.
    No trouble with the file costs a label: on a full disk nothing more is kept either, and a file that turns out to be
    damaged, or held by others for long, is left alone.

    Raises:
        TransientError, ConfigError: when it is measured, as `SqliteFile`.
    """

    def __init__(self, config: AnswersConfig) -> None:
        self.path = Path(config.folder) / FILE
        self._most_bytes = int(config.gib * 2**30)
        self._file = SqliteFile(self.path, "store of answers", _TABLES)
        self._began = time.time_ns()
        self._is_full = self._is_left = False

    def find(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are known."""
        found: dict[bytes, bytes] = {}
        with self._or_leave():
            found = self._find(keys)
        return found

    def keep(self, answers: Mapping[bytes, Stored]) -> None:
        """Write answers, the last one of a key in the place of earlier ones."""
        if answers and not self._is_full:
            with self._or_leave():
                self._keep(answers)

    @contextmanager
    def _or_leave(self) -> Iterator[None]:
        """Do what is in the block, or nothing more of its kind."""
        try:
            yield
        except (ConfigError, TransientError) as error:
            if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                self._is_full = True
                _LOG.warning("the disk of '%s' is full: no more answers are kept in this run", self.path)
            else:
                self._is_left = True
                _LOG.warning("%s; this run goes on without it", error)

    def _find(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        if self._is_left:
            return {}
        found: dict[bytes, bytes] = {}
        distinct = list(dict.fromkeys(keys))
        with self._file.opened() as database:
            for start in range(0, len(distinct), _KEYS_AT_ONCE):
                some = distinct[start : start + _KEYS_AT_ONCE]
                among = f"key IN ({', '.join('?' * len(some))})"
                rows = database.execute(f"SELECT key, value, used FROM answers WHERE {among}", some).fetchall()
                found |= {key: value for key, value, _ in rows}
                if any(used < self._began for _, _, used in rows):
                    database.execute(f"UPDATE answers SET used = ? WHERE {among}", (self._began, *some))
        return found

    def _keep(self, answers: Mapping[bytes, Stored]) -> None:
        if self._is_left:
            return
        rows = [(key, one.expert, one.rows, self._began, one.value) for key, one in answers.items()]
        with self._file.opened() as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)
            if not self._has_room(database):
                self._is_full = True
                _LOG.warning("'%s' is full: no more answers are kept in this run", self.path)
                database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in answers])

    def rows_of(self, experts: Iterable[str]) -> dict[str, int]:
        """How many questions of each expert are answered here; none of one that is not known."""
        counted = "SELECT coalesce(sum(rows), 0) FROM answers WHERE expert = ?"
        found = dict.fromkeys(experts, 0)
        with self._or_leave(), self._file.opened() as database:
            found = {one: int(database.execute(counted, (one,)).fetchone()[0]) for one in found}
        return found

    def size(self) -> int:
        """Bytes that its answers take."""
        with self._file.opened() as database:
            return _size(database)

    def _has_room(self, database: sqlite3.Connection) -> bool:
        """Whether all answers fit, once those are gone that may go."""
        oldest = "SELECT rowid FROM answers WHERE used < ? ORDER BY used, rowid LIMIT ?"
        while _size(database) > self._most_bytes:
            (count,) = database.execute("SELECT count(*) FROM answers").fetchone()
            among = (self._began, count // _MOST_DROPPED + 1)
            if not database.execute(f"DELETE FROM answers WHERE rowid IN ({oldest})", among).rowcount:
                return False
        return True


def _size(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
