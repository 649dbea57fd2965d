"""What passes from stage to stage, and what a stage is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from storage.records import Candidate, Proposal, Rejection, Rle, Sample, Scores
from storage.request import Request


@dataclass(frozen=True)
class Draft:
    """A label in the making: every stage returns a copy with its own fields filled.

    Attributes:
        image_HWC: the decoded image, uint8 RGB.
        absent: the resolve stage found that the target is not in the image; later stages leave such a draft alone.
        mask: the consensus, set by the fuse stage.
        tracked_from: as of `Label`.
    """

    sample: Sample
    image_HWC: np.ndarray
    request: Request = field(default_factory=Request)
    candidates: tuple[Candidate, ...] = ()
    absent: bool = False
    proposals: tuple[Proposal, ...] = ()
    mask: Rle | None = None
    scores: Scores = field(default_factory=Scores)
    tracked_from: tuple[str, ...] = ()

    @property
    def unfound(self) -> tuple[str, ...]:
        """Target phrases that no chosen box shows; none where no box is needed or a person drew the boxes."""
        if self.is_answered or self.sample.human_boxes:
            return ()
        return self.request.unfound({c.phrase for c in self.candidates if c.chosen and c.role == "target"})

    @property
    def asked(self) -> Request:
        """The request with the person's own words."""
        return replace(self.request, instruction=self.sample.instruction)

    @property
    def is_answered(self) -> bool:
        """Whether no box and no mask is to be found: the target is absent, or every pixel is needed."""
        return self.absent or (self.request.scope == "whole image" and not self.sample.human_boxes)

    def scored(self, **scores: float) -> Self:
        """A copy with some scores filled in."""
        return replace(self, scores=replace(self.scores, **{name: float(value) for name, value in scores.items()}))

    def reject(self, stage: str, reason: str, detail: str) -> Rejection:
        """The rejection that ends this draft."""
        return rejection(self.sample, stage, reason, detail)


def rejection(sample: Sample, stage: str, reason: str, detail: str) -> Rejection:
    """The rejection that ends a sample."""
    names = ("source", "image_uri", "instruction", "kind", "difficulty", "moment")
    return Rejection(sample.id, stage, reason, detail, **{name: getattr(sample, name) for name in names})


@dataclass(frozen=True)
class Outcome:
    """What a stage made of a batch: each draft is in exactly one of the two lists, in batch order."""

    kept: list[Draft]
    rejected: list[Rejection]


class Stage(Protocol):
    """One verb over a batch. Stages hold experts and configuration, never state between batches."""

    name: str

    def run(self, batch: Sequence[Draft]) -> Outcome:
        """Keep or reject each draft."""
        ...
