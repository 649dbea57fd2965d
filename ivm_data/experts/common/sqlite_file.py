"""A SQLite file that threads and processes share, and that a killed process leaves whole.

In WAL mode: a killed process loses at most what it was writing, and several processes may read and write at once. The
file must lie on a local disk, since WAL does not work over network file systems.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.errors import ConfigError, TransientError

BUSY_S = 30.0
"""Seconds to wait for another process that is writing."""


class SqliteFile:
    """One connection of this process to the file, which is made when it is first used.

    The connection stays open, because closing the last one waits for the disk; a forked process opens its own.

    Args:
        what: the file in words, for messages.
        tables: `CREATE ... IF NOT EXISTS` of all that it holds.
    """

    def __init__(self, path: Path, what: str, tables: str) -> None:
        self.path = path
        self._what, self._tables = what, tables
        self._lock = threading.Lock()
        self._connection: tuple[int, sqlite3.Connection] | None = None

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """The autocommitting connection of this process, for this thread alone while the block runs.

        Raises:
            TransientError: another process held the file for longer than `BUSY_S`.
            ConfigError: the file or its folder cannot be used.
        """
        try:
            with self._lock:
                if self._connection is None or self._connection[0] != os.getpid():
                    self._connection = os.getpid(), self._connect()
                yield self._connection[1]
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise TransientError(f"{self._what} '{self.path}' is in use: {error}; try again") from error
            raise ConfigError(
                f"{self._what} '{self.path}' cannot be used: {error}; "
                "delete the file, or name a directory on a local disk that can be written to"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            self._create()
        database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(self._tables)
        return database

    def _create(self) -> None:
        """Make the file whole under another name: SQLite waits for nobody where two switch one file to WAL at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.path.parent, prefix=f".{self.path.name}-") as folder:
            made = Path(folder) / self.path.name
            with closing(sqlite3.connect(made)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(self._tables)
            with suppress(FileExistsError):
                os.link(made, self.path)
