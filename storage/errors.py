"""The errors a user can meet, in one small tree.

Every message says what went wrong, the value that was seen, what is allowed, and what to do next.
"""

from __future__ import annotations

import errno
from pathlib import Path

from storage.display import escaped


class IvmWarning(RuntimeWarning):
    """Something a person should know of a run that goes on."""


class IvmError(Exception):
    """Root of every error that the engine raises on purpose.

    As text it is for people: what a terminal would obey is escaped, wherever the error is logged or shown.
    """

    def __str__(self) -> str:
        return escaped(super().__str__())


class ConfigError(IvmError, ValueError):
    """A recipe, option or name that cannot be used; raised before any work starts."""


class InputError(IvmError, ValueError):
    """One input item that cannot be used; the pipeline turns it into a `Rejection`.

    Args:
        reason: a member of `storage.records.REASONS`.
        detail: what was seen, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class WeightsError(IvmError):
    """A checkpoint that is missing, torn, or of another architecture."""


class ShardError(IvmError):
    """A shard that is torn, foreign, or in conflict with a committed one."""


class DiskError(IvmError, OSError):
    """A path that cannot be written: a full disk, no right to it, a folder where a file should be.

    Args:
        path: what was to be written.
        error: what the system said; `errno` and `filename` are its.
    """

    OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
    """About the whole disk, whichever file met them."""

    _ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space on that disk, or ") | (
        dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give yourself the right to write there, or ")
    )

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), str(error.filename or path))
        self.path = path

    def __str__(self) -> str:
        at = "" if self.filename == str(self.path) else f" ('{self.filename}')"
        advice = self._ADVICE.get(self.errno or 0, "")
        return f"'{self.path}' cannot be written: {self.strerror}{at}; {advice}give another path"


class TransientError(IvmError):
    """A failure that may pass: the only kind that is retried."""
