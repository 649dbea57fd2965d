"""Answers that were paid for once: a table of key -> JSON value that outlives the process.

SQLite in WAL mode: a killed process loses at most the answer it was writing, and several processes may read and write
at once. The directory must lie on a local disk, since WAL does not work over network file systems.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import ConfigError, TransientError

FILE = "responses.sqlite"
BUSY_S = 30.0
"""Seconds to wait for another process that is writing."""


def response_key(model: str, parameters: Mapping[str, Any], prompt: Any, image_HWC: np.ndarray | None) -> str:
    """40 hex digits over everything that decides an answer.

    Args:
        model: the expert's name, with whatever tells its weights apart.
        parameters: sampling parameters, as sent.
        prompt: the texts that are sent: anything that JSON can hold.
        image_HWC: uint8 pixels, or None for a question without an image.
    """
    image = None if image_HWC is None else [image_HWC.shape, hashlib.blake2b(image_HWC.tobytes()).hexdigest()]
    text = json.dumps([model, parameters, prompt, image], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


class ResponseCache:
    """A key-value table in a directory; made when it is first used. Threads may share it.

    The connection stays open, because closing the last one waits for the disk; a forked process opens its own.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / FILE
        self._lock = threading.Lock()
        self._connection: tuple[int, sqlite3.Connection] | None = None

    def find(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are known."""
        with self._opened() as database:
            rows = {
                key: database.execute("SELECT value FROM responses WHERE key = ?", (key,)).fetchone() for key in keys
            }
        return {key: json.loads(row[0]) for key, row in rows.items() if row is not None}

    def keep(self, key: str, value: Any) -> None:
        """Write a value that JSON can hold; of two writers of one key the first one wins."""
        with self._opened() as database:
            database.execute("INSERT OR IGNORE INTO responses VALUES (?, ?)", (key, json.dumps(value)))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The autocommitting connection of this process.

        Raises:
            TransientError: another process held the table for longer than `BUSY_S`.
            ConfigError: the directory or the file in it cannot be used.
        """
        try:
            with self._lock:
                if self._connection is None or self._connection[0] != os.getpid():
                    self._connection = os.getpid(), self._connect()
                yield self._connection[1]
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise TransientError(f"response cache '{self.path}' is in use: {error}; try again") from error
            raise ConfigError(
                f"response cache '{self.path}' cannot be used: {error}; "
                "delete the file, or name a directory on a local disk that can be written to"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        return database
