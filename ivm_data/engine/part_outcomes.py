"""What can become of a part that was labeled: committed, in doubt, or failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from storage.errors import IvmError, TransientError
from storage.records import PartResult


@dataclass(frozen=True)
class PartSummary:
    """A committed part.

    Attributes:
        rows: records of the manifest that it takes in.
        fresh: this call labeled it; False where it was committed before.
        statuses: count of labels by status, and of rejections by reason; empty where not fresh.
        tokens: that LMM endpoints counted, prompts and answers together.
        answers_read, answers_asked: of experts whose answers are kept.
    """

    part: str
    rows: int
    fresh: bool
    statuses: Counter[str]
    seconds: float = 0.0
    tokens: int = 0
    answers_read: int = 0
    answers_asked: int = 0


@dataclass(frozen=True)
class Suspect:
    """A labeled part that is not committed, because one stage rejected nearly all of it; `guard` decides."""

    result: PartResult

    @property
    def part(self) -> str:
        """Its name."""
        return self.result.part


@dataclass(frozen=True)
class Failure:
    """A part that ended with an error; nothing of it is committed.

    Attributes:
        may_pass: retrying it may help.
    """

    part: str
    why: str
    may_pass: bool = False

    @classmethod
    def of(cls, part: str, error: BaseException) -> Failure:
        """A part that an error ended: the engine's own errors are sentences, others need their class to be read."""
        why = str(error) if isinstance(error, IvmError) else f"{type(error).__name__}: {error}"
        return cls(part, why, isinstance(error, TransientError))


PartOutcome = PartSummary | Failure
