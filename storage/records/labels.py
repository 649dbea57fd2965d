"""What experts said of a pair, and the engine's answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from storage.records.pairs import MISSING, Box, Rle, Sample, same
from storage.request import Request


class Status(StrEnum):
    """What the gate decided about a label."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    REJECTED = "rejected"
    NO_TARGET = "no_target"
    WHOLE_IMAGE = "whole_image"


Role = Literal["target", "anchor"]
"""What a phrase is to an instruction: meant, or named to describe what is."""

HUMAN = "human"
"""`expert` of a candidate whose box a person drew."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A box that was united with others in a candidate.

    Attributes:
        expert: `model@revision` of the grounder.
        phrase: what it was asked for: the candidate's phrase, or its noun alone.
        score: the grounder's score.
    """

    expert: str
    phrase: str
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A box that grounders found for a phrase.

    Attributes:
        expert: `model@revision` of the grounder whose box it is, or `HUMAN`.
        role: "target" or "anchor".
        score: the grounder's score of the phrase's own token span.
        p_yes: the verifier's probability that this box shows the phrase; NaN where it was not asked.
        relation: how well the box fits the relation to the anchor; NaN where there is none.
        chosen: the resolve stage kept it.
        in_context: P(yes) that it is what the instruction means, outlined in the whole image; NaN where not asked.
        witnesses: every box that was united in it, where several grounders or phrases were asked.
    """

    expert: str
    phrase: str
    role: Role
    box: Box
    score: float
    p_yes: float = MISSING
    relation: float = MISSING
    chosen: bool = False
    in_context: float = MISSING
    witnesses: tuple[Witness, ...] = ()

    __eq__ = same


@dataclass(frozen=True, slots=True)
class Proposal:
    """One expert's mask for the whole instruction.

    Attributes:
        expert: `model@revision`, joined with "+" where several models made it.
        score: the weight of this mask in the consensus: the probability that it is right, where that is calibrated.
        support: what the expert itself thinks of its mask, in [0, 1].
        predicted_iou: the segmenter's own estimate; the least of the parts.
        stability: |logit > t + d| / |logit > t - d|; the least of the parts (segment-anything, d = 1).
        iou_with_label: overlap with the fused mask, set by the fuse stage.
    """

    expert: str
    mask: Rle
    score: float
    support: float = MISSING
    predicted_iou: float = MISSING
    stability: float = MISSING
    iou_with_label: float = MISSING

    __eq__ = same


@dataclass(frozen=True, slots=True)
class Scores:
    """Every number the gate may look at; each is a column of the `labels` view.

    Attributes:
        understood: share of the instruction's words that rewriter and grounder know.
        presence: the LMM's probability that the target is in the image.
        grounding: least grounder score among the chosen boxes.
        margin: least distance between a chosen candidate's combined score and its runner-up's.
        candidate: least verifier probability among the chosen candidates.
        relation: least relation score among the chosen candidates.
        predicted_iou, stability: least of the proposals' values.
        agreement: mean pairwise IoU of the proposals; of a statement that there is no target, one minus the mean score
            of the masks that proposers draw nonetheless.
        area_ratio: fused area over image area.
        witnessed: least share of the grounders that found a chosen box; NaN with one grounder.
        in_context: least P(yes) for a chosen candidate, outlined in the whole image.
        p_yes_kept: P(yes) on the image with only the mask's pixels.
        p_yes_complement: P(yes) on the image without the mask's pixels.
        verification: p_yes_kept * (1 - p_yes_complement): sufficient and minimal.
        consistency: IoU of the masks that are carried to a frame from the key frames before and after it; of a key
            frame with what its neighbours' become there. NaN for stills, and where one side alone is known.
        quality: calibrated probability that the mask overlaps the truth with IoU >= 0.5.
    """

    understood: float = MISSING
    presence: float = MISSING
    grounding: float = MISSING
    margin: float = MISSING
    candidate: float = MISSING
    relation: float = MISSING
    predicted_iou: float = MISSING
    stability: float = MISSING
    agreement: float = MISSING
    area_ratio: float = MISSING
    witnessed: float = MISSING
    in_context: float = MISSING
    p_yes_kept: float = MISSING
    p_yes_complement: float = MISSING
    verification: float = MISSING
    consistency: float = MISSING
    quality: float = MISSING

    __eq__ = same


@dataclass(frozen=True, slots=True)
class Lineage:
    """What made a label: the hash of the whole recipe and each expert's `model@revision` by role."""

    recipe: str
    experts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Label:
    """The engine's answer for one sample: a soft heatmap (the proposals' vote), a mask, and what is known of them.

    The heatmap is derived, not stored: sum(score_i * mask_i) / sum(score_i) over `proposals`
    (`storage.pixels.rle.vote`). `mask` is all zero for status `no_target`, all one for `whole_image`.

    A label that was carried from other frames (`tracked_from`) has its mask and `area_ratio` and `consistency` of its
    own; its request and all other scores are those of the key frame whose mask it carries. A candidate is the box
    around its mask, by the tracker.

    Attributes:
        tracked_from: sample ids of the key frames that the mask was carried from, of the one whose mask it is first;
            () where experts made it of the image itself.
    """

    sample: Sample
    request: Request
    candidates: tuple[Candidate, ...]
    proposals: tuple[Proposal, ...]
    mask: Rle
    scores: Scores
    status: Status
    reason: str
    lineage: Lineage
    human_iou: float = MISSING
    tracked_from: tuple[str, ...] = ()

    __eq__ = same
