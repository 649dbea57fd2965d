"""The errors a user can meet, in one small tree.

Every message says what went wrong, the value that was seen, what is allowed, and what to do next.
"""

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


class TransientError(IvmError):
    """A failure that may pass: the only kind that is retried."""
