"""What a part of a run leaves: outcomes, the records behind them, and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.records.labels import Label
from storage.records.rejections import Rejection


@dataclass(frozen=True, slots=True)
class Timing:
    """What one stage spent on one part; kept outside the label set so that labels stay deterministic.

    Attributes:
        seconds: wall clock.
        rows: that entered the stage.
        requests, prompt_tokens, completion_tokens: asked of LMM endpoints; answers from a cache cost nothing.
        answers_read, answers_asked: of experts whose answers are kept: those that were, and those that had to be asked
            for.
        tiles: parts of large pictures that experts were asked about beside the whole ones.
    """

    part: str
    recipe: str
    stage: str
    seconds: float
    rows: int
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answers_read: int = 0
    answers_asked: int = 0
    tiles: int = 0


UNKNOWN, UNSTATED = 0, 1
"""What `Input.facts` and `Input.words` are where nobody knows them, and `Input.words` where the record has none."""


@dataclass(frozen=True, slots=True)
class Input:
    """A record of a manifest, and the pair that it names.

    Attributes:
        record: hash of its bytes and of the folder that its paths are relative to, 16 bytes.
        sample_id: as of the sample, also of one that counts through another record; or of the rejection where no sample
            could be made or records contradict each other.
        facts: hash of human mask, human boxes and held_out, 64 bits; `UNKNOWN` where no sample could be made.
        words: hash of source, kind, difficulty and moment as the record states them, 64 bits; `UNSTATED` for none.
        duplicate: another record of the manifest counts instead, or contradicts this one.
        replaces: `sample_id` of the outcome that does not count any more: of the rejection that the record ended as
            before, where it ends as another sample now, or of the pair that the record contradicts another one about.
    """

    record: bytes
    sample_id: str
    facts: int = UNKNOWN
    words: int = UNKNOWN
    duplicate: bool = False
    replaces: str = ""


@dataclass(frozen=True)
class PartResult:
    """All outcomes of one part in input order: the unit of work, retry and commit.

    Attributes:
        inputs: the records behind them, and those whose pairs other parts hold already.
    """

    part: str
    recipe: str
    outcomes: tuple[Label | Rejection, ...]
    timings: tuple[Timing, ...] = field(default=())
    inputs: tuple[Input, ...] = field(default=())
