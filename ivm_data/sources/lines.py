"""JSONL manifests as lines: read one at a time, written so that they appear last and whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from storage.errors import ConfigError


@contextmanager
def whole_manifest(out: Path) -> Iterator[TextIO]:
    """A file to write lines into; it gets its name when the block ends well, and a file of that name is replaced.

    A block that fails leaves nothing.

    Raises:
        ConfigError: another suffix than .jsonl.
    """
    if out.suffix != ".jsonl":
        raise ConfigError(f"manifest '{out}' must end in '.jsonl'")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".part")
    try:
        with unfinished.open("w+", encoding="utf-8") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    os.replace(unfinished, out)


def read_lines(manifest: Path) -> Iterator[bytes]:
    """The lines of a JSONL manifest that are not blank.

    Raises:
        ConfigError: it is not there, or is no JSONL.
    """
    if manifest.suffix != ".jsonl" or not manifest.is_file():
        raise ConfigError(f"manifest '{manifest}' must be a .jsonl file that is there; write others with 'ivm import'")
    with manifest.open("rb") as lines:
        yield from (line for line in lines if line.strip())


def parse(line: bytes) -> dict[str, Any] | None:
    """The line's object if it is a pair; None for one that cannot be read, or stands for an import's bad record."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    is_pair = isinstance(row, dict) and not row.get("error")
    return row if is_pair and all(isinstance(row.get(key), str) for key in ("image", "instruction")) else None
