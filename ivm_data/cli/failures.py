"""What the machine refuses, as one line: what happened, what was kept, what to do."""

from __future__ import annotations

import errno

_READERS = ("pyarrow", "duckdb")
"""Libraries whose errors say that a file of the data set is damaged, gone, or in other hands."""

_NEXT = {
    errno.ENOSPC: "free space on that disk, or give a path on another",
    errno.EDQUOT: "free some of your quota on that disk, or give a path on another",
    errno.EFBIG: "allow larger files ('ulimit -f'), or give a path on another disk",
    errno.EACCES: "give yourself the permission, or another path",
    errno.EPERM: "give yourself the permission, or another path",
    errno.EROFS: "give a path that can be written to",
    errno.EISDIR: "give the path of a file",
    errno.ENOTDIR: "give a path whose folders are folders",
    errno.EEXIST: "give another path, or move that file away",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.EMFILE: "allow more open files ('ulimit -n')",
    errno.EIO: "check the disk",
}

_KEPT = {
    "label": "parts committed before it are kept",
    "train": "what the training saved last is kept",
    "review": "reviews given before it are kept",
    "complicate": "answers before it are kept in the cache",
    "push": "files that arrived whole are kept",
    "pull": "files that arrived whole are kept",
    "mask": "images written before it are kept",
    "world": "images drawn before it are kept",
    "search-world": "images drawn before it are kept",
}
"""What lasts of a command that ends early; the others change the data set by whole files, or not at all."""


def of_the_machine(error: Exception, command: str) -> str | None:
    """One line for an error of a disk, of memory or of a damaged file; None for any other, which is a bug.

    Args:
        command: the first word of the command line.
    """
    kept = _KEPT.get(command, "the data set is as it was")
    return None if (seen := _seen(error)) is None else "; ".join((seen[0], kept, f"{seen[1]} and run the same again"))


def _seen(error: Exception) -> tuple[str, str] | None:
    """What happened, and what to do about it."""
    if type(error).__module__.partition(".")[0].lstrip("_") in _READERS:
        return f"a file cannot be read: {_first_line(error)}", "find it with 'ivm sql --data DIR', move it away"
    if isinstance(error, MemoryError):
        return "this machine has too little memory", "give it fewer or smaller inputs at once"
    if not isinstance(error, OSError):
        return None
    if error.errno is None:
        return f"a file cannot be read or written: {_first_line(error)}", "check the file"
    where = f": '{error.filename}'" if error.filename is not None else ""
    return f"{error.strerror}{where}", _NEXT.get(error.errno, "check the path and the disk")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
