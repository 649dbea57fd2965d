"""Answers that were paid for once: a table of key -> JSON value that outlives the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.experts.common.sqlite_file import SqliteFile

FILE = "responses.sqlite"


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
    """A key-value table in a directory; made when it is first used. Threads and processes may share it.

    Raises:
        TransientError, ConfigError: when it is read or written, as `SqliteFile`.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / FILE
        table = "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
        self._file = SqliteFile(self.path, "response cache", table)

    def find(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are known."""
        with self._file.opened() as database:
            rows = {
                key: database.execute("SELECT value FROM responses WHERE key = ?", (key,)).fetchone() for key in keys
            }
        return {key: json.loads(row[0]) for key, row in rows.items() if row is not None}

    def keep(self, key: str, value: Any) -> None:
        """Write a value that JSON can hold; of two writers of one key the first one wins."""
        with self._file.opened() as database:
            database.execute("INSERT OR IGNORE INTO responses VALUES (?, ?)", (key, json.dumps(value)))
