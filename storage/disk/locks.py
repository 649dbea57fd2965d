"""Whose files are whose: `flock`s, which the kernel releases when a process dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def claim(path: Path) -> int:
    """A handle with the lock of what lies there; waits for its holder.

    Raises:
        FileNotFoundError: it is not there, or was renamed meanwhile.
    """
    handle = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # A file system without locks: no claims, so no clearing away either.
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        if os.path.samestat(os.stat(path), os.fstat(handle)):
            return handle
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except FileNotFoundError:
        release(handle)
        raise


def release(handle: int) -> None:
    """Give up a lock and its handle, also where a forked child still has a copy of the handle."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


@contextmanager
def unclaimed(path: Path) -> Iterator[bool]:
    """Whether no living writer holds it; if so, this one does while the block runs."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        yield False
        return
    try:
        yield True
    finally:
        release(handle)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep the files below a folder, if it is there, while they are read; `unused` says no meanwhile."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # A file system without locks, where no compaction can run either.
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        release(handle)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether no reader is in `in_use` of the folder; if so, the next one waits until this ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        release(handle)
