"""Pickles of plain values from Python 2, read without giving them a way to run anything."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from storage.errors import ConfigError

_BYTEARRAY = pickle.BYTEARRAY8[0]
"""An opcode that makes room before it reads, in Python too; no plain data has it."""


class _Plain(pickle._Unpickler):
    """Dicts, lists, tuples, strings and numbers have opcodes of their own; only other things have a class to find.

    The unpickler that is written in Python: the one in C makes room for whatever number the file names, so that seven
    bytes cost 1.6 GB. It takes 3 seconds for the 50,000 refs of RefCOCO.
    """

    dispatch: ClassVar = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != _BYTEARRAY}

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
        # From memory: a file makes room for as many bytes as it is asked for.
        return _Plain(io.BytesIO(path.read_bytes()), encoding="utf-8", errors="replace").load()
    except ConfigError as error:
        raise ConfigError(f"'{path}' holds more than plain data: {error}") from error
    except Exception as error:  # the unpickler raises nearly every type on foreign bytes
        raise ConfigError(f"'{path}' is not a readable pickle: {type(error).__name__}: {error}") from error
