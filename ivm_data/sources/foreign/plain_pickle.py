"""Pickles of plain values from Python 2, read without giving them a way to run anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from storage.errors import ConfigError


class _Plain(pickle._Unpickler):  # type: ignore[name-defined]  # private, and documented as the reference in Python
    """Dicts, lists, tuples, strings and numbers have opcodes of their own; only other things have a class to find.

    Written in Python, which takes four times as long as the one in C: that one allocates as many places as an opcode
    of 5 bytes asks for, 1.6 GB for a file of 7 bytes. Byte arrays, which plain data of Python 2 has not, are allocated
    by their announced length here too, and refused.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ConfigError(f"it asks for '{module}.{name}', which plain data never does: do not trust where it is from")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ConfigError(f"it refers to something outside itself, {str(pid)[:40]!r}")


def load_plain(path: Path) -> Any:
    """Dicts, lists, tuples, strings and numbers from a pickle; nothing in it is imported or called.

    Byte strings of Python 2 are read as UTF-8.

    Raises:
        ConfigError: the file cannot be read, is no pickle, or holds anything else.
    """
    try:
        return _Plain(io.BytesIO(path.read_bytes()), encoding="utf-8", errors="replace").load()
    except ConfigError as error:
        raise ConfigError(f"'{path}' holds more than plain data: {error}") from error
    except Exception as error:  # the unpickler raises nearly every type on foreign bytes
        raise ConfigError(f"'{path}' is not a readable pickle: {type(error).__name__}: {error}") from error
