"""Stop before a broken stage is taken for bad data.

An endpoint that answers with nothing, a wrong checkpoint or a forgotten image root rejects nearly every input for one
and the same reason. Committed, such rejections would stand: a rerun skips what is committed. So a part that looks like
this is held back, until the parts after it show that the stage works, or that it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ivm_data.engine.part_outcomes import Failure, PartOutcome, PartSummary, Suspect
from ivm_data.engine.pipeline import STAGES
from ivm_data.engine.recordings import TRACK
from storage.display import one_line
from storage.errors import ConfigError, IvmError
from storage.records import INPUT_STAGE, OF_OTHER_RECORDS, PartResult, Rejection

ORDER = (INPUT_STAGE, *STAGES, TRACK, "gate")
"""Stages as an input passes them."""


IN_A_ROW = 3
"""Refused parts after which a run that had gone well before stops."""

_SHOWN = 3
_ADVICE = {
    INPUT_STAGE: "check the paths in the manifest, --image-root, and --fetch where images are URLs",
    TRACK: "see why the key frames of the episodes have no label: they are rejected by another stage",
    "gate": "check the recipe's calibration and its verifier",
}
_ASK_EXPERT = "check this stage's expert: its answers, its endpoint's log, 'ivm doctor'"


@dataclass(frozen=True)
class GuardConfig:
    """When a stage counts as broken; no part of a recipe, since it decides nothing about a label.

    Attributes:
        rows: inputs that have to reach an expert's stage first, in a part or in parts after each other.
        input_rows: the same of reading the inputs: data has holes, such as a folder that is missing; experts do not.
        share: of them the stage has to reject this share for one reason, in (0, 1].
    """

    rows: int = 8
    input_rows: int = 20
    share: float = 0.9

    def __post_init__(self) -> None:
        if min(self.rows, self.input_rows) < 1 or not 0 < self.share <= 1:
            raise ConfigError(
                f"the guard needs rows and input_rows >= 1 and 0 < share <= 1, got {self.rows}, {self.input_rows} "
                f"and {self.share}"
            )


DEFAULT_GUARD = GuardConfig()


class BrokenStageError(IvmError):
    """A stage rejects nearly everything for one reason; nothing of this was committed."""


@dataclass(frozen=True)
class Finding:
    """A stage and the one reason for which it rejected nearly all that reached it.

    Attributes:
        examples: the first rejections.
    """

    stage: str
    reason: str
    rejected: int
    reached: int
    examples: tuple[Rejection, ...]

    def __str__(self) -> str:
        shown = "".join(
            f"\n    '{one_line(one.image_uri)}', '{one_line(one.instruction)}': {one_line(one.detail)}"
            for one in self.examples
        )
        return (
            f"stage '{self.stage}' rejects {self.rejected} of the {self.reached} inputs that reached it as "
            f"'{self.reason}': it is broken, or not made for this data, and nothing of this was committed. "
            f"The first of them:{shown}\n    Next: {_ADVICE.get(self.stage, _ASK_EXPERT)}; if the data is really so, "
            "run again with --allow-rejections (of the flow: allow_rejections)."
        )


def find(results: Sequence[PartResult], config: GuardConfig) -> Finding | None:
    """The first stage that rejected nearly everything of these parts for one reason; None where none did."""
    rejections: dict[tuple[str, str], list[Rejection]] = defaultdict(list)
    reached = sum(len(result.outcomes) for result in results)
    for result in results:
        for outcome in result.outcomes:
            if isinstance(outcome, Rejection):
                rejections[outcome.stage, outcome.reason].append(outcome)
    for stage in ORDER:
        here = {reason: found for (of, reason), found in rejections.items() if of == stage}
        reached -= sum(len(found) for reason, found in here.items() if reason in OF_OTHER_RECORDS)
        least = config.input_rows if stage == INPUT_STAGE else config.rows
        for reason, found in here.items():
            if reason not in OF_OTHER_RECORDS and reached >= least and len(found) >= config.share * reached:
                return Finding(stage, reason, len(found), reached, tuple(found[:_SHOWN]))
        reached -= sum(len(found) for reason, found in here.items() if reason not in OF_OTHER_RECORDS)
    return None


def is_suspect(result: PartResult, config: GuardConfig | None) -> bool:
    """Whether a part must not be committed before the parts around it are known."""
    return config is not None and find([result], replace(config, rows=1, input_rows=1)) is not None


def guarded(
    outcomes: Iterable[PartOutcome | Suspect], config: GuardConfig | None, commit: Callable[[PartResult], PartSummary]
) -> Iterator[PartOutcome]:
    """What becomes of parts, in the order in which they were labeled: those in doubt are committed, or fail.

    Parts in doubt wait. A part that went well, or the end, commits them; a stage that is found broken over them makes
    all of them failures. Then this ends, where no part had gone well before or it is the `IN_A_ROW`-th time: the
    caller has no more outcomes than it was given, and starts no other part.
    """
    waiting: list[PartResult] = []
    went_well, refused = False, 0
    for outcome in outcomes:
        if isinstance(outcome, Suspect) and config is not None:
            waiting.append(outcome.result)
            if finding := find(waiting, config):
                yield from (Failure(result.part, str(finding)) for result in waiting)
                waiting, refused = [], refused + 1
                if not went_well or refused == IN_A_ROW:
                    return
        elif isinstance(outcome, Suspect):
            yield commit(outcome.result)
        else:
            if isinstance(outcome, PartSummary) and outcome.fresh:
                yield from map(commit, waiting)
                waiting, went_well, refused = [], True, 0
            yield outcome
    yield from map(commit, waiting)
