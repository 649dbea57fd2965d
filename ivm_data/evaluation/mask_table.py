"""Systems that mask, on one test set, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivm_data.evaluation.systems import System
from ivm_data.evaluation.testset import Question, TestSet
from ivm_model.metrics.tally import Interval, differences, intervals, tally
from storage.errors import ConfigError
from storage.pixels import rle

GROUPINGS: Mapping[str, Callable[[Question], str]] = {
    "source": lambda question: question.sample.source,
    "kind": lambda question: question.sample.kind or "any",
    "difficulty": lambda question: question.sample.difficulty or "any",
    "area": lambda question: question.area,
}


@dataclass(frozen=True)
class MaskTable:
    """What systems reach on the same questions.

    Attributes:
        ids, images: of each question: the sample's id, and which image it is about.
        groups: grouping -> the group of each question.
        tallies: system -> tally_NK of its answers, in the order of the questions.
        bad: records that could not be used, for a person.
        unmarked: records without a mask that could score.
    """

    manifest: str
    ids: tuple[str, ...]
    images: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    tallies: Mapping[str, np.ndarray]
    bad: tuple[str, ...]
    unmarked: int

    def overall(self) -> dict[str, dict[str, Interval]]:
        """System -> scores over all questions."""
        return {name: intervals(tally_NK, self.images) for name, tally_NK in self.tallies.items()}

    def by(self, grouping: str) -> dict[str, dict[str, dict[str, Interval]]]:
        """Group -> system -> scores, the groups sorted by name."""
        group_N, image_N = np.array(self.groups[grouping]), np.array(self.images)
        return {
            str(group): {
                name: intervals(tally_NK[group_N == group], image_N[group_N == group])
                for name, tally_NK in self.tallies.items()
            }
            for group in np.unique(group_N)
        }

    def differences(self) -> dict[str, dict[str, Interval]]:
        """System -> its scores minus those of the first system, on the same questions."""
        (_, base_NK), *others = self.tallies.items()
        return {name: differences(tally_NK, base_NK, self.images) for name, tally_NK in others}


def evaluate_masks(
    test: TestSet, systems: Sequence[System], progress: Callable[[int], None] = lambda done: None
) -> MaskTable:
    """Ask every system every question.

    Args:
        progress: called with the number of questions answered, after each batch.

    Raises:
        ConfigError: two systems of one name, or no question with truth.
    """
    if len({system.name for system in systems}) < len(systems) or not systems:
        raise ConfigError(f"name each system once, and at least one; got {[system.name for system in systems]}")
    tallies: dict[str, list[np.ndarray]] = {system.name: [] for system in systems}
    asked: list[tuple[str, str, dict[str, str]]] = []
    for questions in filter(None, test.batches()):
        for system in systems:
            masks = system.masks([question.sample for question in questions])
            tallies[system.name] += map(_tally, masks, questions)
        asked += [(q.sample.id, q.sample.image_uri, {n: of(q) for n, of in GROUPINGS.items()}) for q in questions]
        progress(len(questions))
    if not asked:
        raise ConfigError(
            f"'{test.manifest}' has no record with a mask to score on: {len(test.bad)} cannot be used, {test.unmarked} "
            f"have no mask{'; first: ' + test.bad[0] if test.bad else ''}"
        )
    ids, images, groups = zip(*asked, strict=True)
    return MaskTable(
        manifest=test.manifest.name,
        ids=ids,
        images=images,
        groups={name: tuple(group[name] for group in groups) for name in GROUPINGS},
        tallies={name: np.stack(rows) for name, rows in tallies.items()},
        bad=tuple(test.bad),
        unmarked=test.unmarked,
    )


def _tally(mask_HW: np.ndarray, question: Question) -> np.ndarray:
    ignore_HW = None if question.ignore is None else rle.decode(question.ignore)
    return tally(mask_HW, rle.decode(question.truth), ignore_HW)
