"""What is said of labels afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storage.records.pairs import Rle


@dataclass(frozen=True, slots=True)
class Weight:
    """A discriminator's or a judge's score of one label, appended after its training.

    Attributes:
        discriminator: `name@content-hash`.
        d: P(the mask is human), of a judge P(right), in (0, 1), from a fold that did not learn from this sample.
        fold: index of that fold.
    """

    sample_id: str
    recipe: str
    discriminator: str
    d: float
    fold: int


Verdict = Literal["right", "wrong", "wrong_instruction", "unsure", "withdrawn"]
"""A person's verdict on a label; "withdrawn" takes back the same person's earlier one."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a label came before a reviewer. Verdicts are a random sample of the labels that the filters keep, or none.

    Attributes:
        order: "random", or "informative": the ones first that tell most, or those of the person's own condition.
        status, source, kind: filters, "" for none.
        above: least quality that was shown; 0 for any.
        quality: `storage.gates.gate.Gate.quality_hash` of that quality; "" where `above` is 0.
    """

    order: Literal["random", "informative"]
    status: str = ""
    source: str = ""
    kind: str = ""
    above: float = 0.0
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A person's review of one label, appended; the latest of a person by `reviewed_at` counts.

    Attributes:
        reviewed_at: UTC time, ISO 8601 ("2024-05-01T12:00:00Z").
        mask: of a "wrong" label, the right mask where the person made one.
        drawn: how the label was chosen; None where nobody wrote that down.
    """

    sample_id: str
    recipe: str
    reviewer: str
    verdict: Verdict
    note: str
    reviewed_at: str
    mask: Rle | None = None
    drawn: Drawn | None = None


Scope = Literal["mask", "sample"]
"""What a decision is about: the engine's mask alone, or the pair of image and instruction, whatever its mask."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a cleaning rule keeps a label out of use, appended; the latest of a rule by `decided_at` counts.

    Attributes:
        rule: name of the rule.
        reason: what the rule saw, for a person.
        parameters: the rule's parameters, JSON.
        who: who applied or undid the rule.
        decided_at: UTC time, ISO 8601 with microseconds.
    """

    sample_id: str
    recipe: str
    rule: str
    scope: Scope
    verdict: Literal["exclude", "include"]
    reason: str
    parameters: str
    who: str
    decided_at: str


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well an expert's masks mark the hidden truth of a recipe's labels, as STAPLE estimates it.

    Attributes:
        sensitivity: P(the expert marks a pixel | it is needed).
        specificity: P(the expert leaves a pixel | it is not needed).
        labels: labels with a mask of this expert and of another one.
        measured_at: UTC time, ISO 8601 with microseconds; the latest counts.
    """

    recipe: str
    expert: str
    sensitivity: float
    specificity: float
    labels: int
    measured_at: str
