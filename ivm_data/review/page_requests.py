"""What the page may ask for: edits and judgements, checked before anything is done."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from ivm_data.review.edits import Edit, Kind, Start

PART = r"^[A-Za-z0-9][A-Za-z0-9._@+=-]{0,199}$"
SAMPLE = r"^[0-9a-f]{1,64}$"
"""What a part's name and a sample's id look like."""

_Where = Annotated[float, Field(ge=0, le=1e6)]
_POINTS = {"add": (1, 1), "remove": (1, 1), "box": (2, 2), "polygon": (3, 5000), "cut": (3, 5000)}
"""Least and most points of a kind of edit; a brush takes any number."""


class AskedEdit(BaseModel):
    """See `Edit`."""

    kind: Kind
    points: Annotated[list[tuple[_Where, _Where]], Field(min_length=1, max_length=5000)]
    radius: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    goes_on: bool = False

    @model_validator(mode="after")
    def _has_its_points(self) -> Self:
        least, most = _POINTS.get(self.kind, (1, 5000))
        if not least <= len(self.points) <= most:
            raise ValueError(f"an edit of kind {self.kind!r} takes {least} to {most} points, got {len(self.points)}")
        if self.goes_on and self.kind == "box":
            raise ValueError("a box begins a thing and goes on with none")
        return self

    def record(self) -> Edit:
        """As the session takes it."""
        return Edit(self.kind, tuple(self.points), self.radius, self.goes_on)


class Edits(BaseModel):
    """A mask by edits."""

    edits: Annotated[list[AskedEdit], Field(max_length=500)] = []
    start: Start = "label"

    def records(self) -> list[Edit]:
        """As the session takes them."""
        return [edit.record() for edit in self.edits]


class Judgement(Edits):
    """A verdict; of a wrong label that is corrected, the mask that the edits make comes along."""

    verdict: Literal["right", "wrong", "wrong_instruction", "unsure"]
    corrected: bool = False
    note: Annotated[str, Field(max_length=2000)] = ""


class LabelKey(BaseModel):
    """Which label."""

    part: Annotated[str, Field(pattern=PART)]
    sample_id: Annotated[str, Field(pattern=SAMPLE)]


class Accepted(BaseModel):
    """Labels that are right, all at once."""

    labels: Annotated[list[LabelKey], Field(min_length=1, max_length=200)]

    def keys(self) -> list[tuple[str, str]]:
        """As the session takes them."""
        return [(label.part, label.sample_id) for label in self.labels]


class Undone(BaseModel):
    """How many verdicts are taken back, the latest first."""

    count: Annotated[int, Field(ge=1, le=200)] = 1
