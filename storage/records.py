"""The nouns of the engine: frozen records that cross every boundary.

Frames and units, everywhere: images are HWC uint8 RGB, masks are HW bool, boxes are XYXY in pixels of the
original image with right and bottom exclusive, probabilities and scores lie in [0, 1].
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from storage.request import Request

MISSING = math.nan
"""A score that no expert gave; stored as SQL NULL."""


def _same(one: object, other: object) -> Any:
    """Equality of records, field by field, in which one MISSING is another: Python 3.13 compares NaN by its value."""
    if type(one) is not type(other):
        return NotImplemented
    pairs = ((getattr(one, each.name), getattr(other, each.name)) for each in fields(one))  # type: ignore[arg-type]
    return all(mine is theirs or mine == theirs for mine, theirs in pairs)


class Status(StrEnum):
    """What the gate decided about a label."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    REJECTED = "rejected"
    NO_TARGET = "no_target"
    WHOLE_IMAGE = "whole_image"


INPUT_STAGE = "ingest"
"""`Rejection.stage` of inputs that could not be read."""

REASONS: dict[str, str] = {
    "ok": "every rule passed",
    "bad_manifest_line": "the manifest line is no object with 'image' and 'instruction', or would be misread",
    "bad_source_record": "a record of the foreign data set could not be read at import",
    "bad_human_mask": "the human mask or box cannot be read, does not fit the image, or covers no pixel of it",
    "image_missing": "no file at the image's path",
    "image_not_fetched": "the image's URL may not be fetched, or gave no file",
    "image_outside_root": "the image's path leaves the manifest's folder",
    "image_unreadable": "the image file is empty, truncated or of an unknown format",
    "image_too_large": "the image has more pixels than the limit",
    "image_too_small": "the image is narrower or lower than the limit",
    "instruction_empty": "the instruction has no words",
    "instruction_too_long": "the instruction has more characters than the limit",
    "duplicate": "another record with the same image and instruction counts",
    "conflicting_targets": "records with the same image and instruction have different targets, so none of them counts",
    "expert_failed": "an expert raised an error on this sample alone",
    "not_rewritten": "the rewriter's answer cannot be read as a request",
    "nothing_to_point_at": "the rewriter finds nothing in the instruction that an image could show",
    "whole_image": "the instruction is about the whole image, so every pixel is needed",
    "not_understood": "too few of the instruction's words are known to the rewriter or the grounder",
    "no_box": "the grounder found no box for any phrase although the target seems present",
    "empty_mask": "no pixel reached the consensus",
    "target_absent": "grounder and LMM agree that the target is not in the image",
    "area_outlier": "the mask covers nearly nothing or nearly everything",
    "low_quality": "the calibrated quality is below the gate's reject threshold",
    "uncertain": "the calibrated quality lies between the gate's thresholds",
    "no_quality": "a score that the quality is made of is not a number",
    "incomplete": "the grounder found a box for some of the phrases only",
    "experts_disagree": "the proposals overlap too little",
}

OF_OTHER_RECORDS = frozenset({"duplicate", "conflicting_targets"})
"""Reasons that lie in other records of the manifest: they say nothing of a stage, and go when the others change."""
"""Closed set of reason codes of rejections and gate decisions, with their meaning."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in XYXY order, pixels of the original image, right and bottom exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Area in square pixels; 0 for an inverted box."""
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the middle, in pixels."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask in COCO's compressed run-length encoding; `storage.pixels.rle` encodes and decodes it."""

    height: int
    width: int
    counts: bytes


@dataclass(frozen=True)
class Sample:
    """One question to the engine: which pixels of this image does this instruction need?

    Attributes:
        id: hash of image bytes and instruction, from `sample_id`.
        image: the encoded image file, bytes as read.
        image_uri: where the bytes came from, relative to the manifest where possible.
        width, height: size in pixels after EXIF rotation, the frame of every mask and box.
        source: name of the data set.
        kind: the source's own word for the type of instruction, or "".
        difficulty: the source's own word for how hard the pair is, or "".
        human_mask: a mask drawn by a person or known by construction; no stage before the gate sees it.
        held_out: the human mask only scores labels; it is never trained or calibrated on.
        human_boxes: boxes drawn by a person around everything that the instruction needs, where there is no human
            mask. They take the grounder's place: the segmenter turns them into the mask.
    """

    id: str
    image: bytes
    image_uri: str
    width: int
    height: int
    instruction: str
    source: str
    kind: str = ""
    difficulty: str = ""
    human_mask: Rle | None = None
    held_out: bool = False
    human_boxes: tuple[Box, ...] = ()

    @cached_property
    def image_sha(self) -> str:
        """Content address of the image, as `image_sha` makes it; hashed once."""
        return image_sha(self.image)


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

    __eq__ = _same


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

    __eq__ = _same


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
        agreement: mean pairwise IoU of the proposals.
        area_ratio: fused area over image area.
        witnessed: least share of the grounders that found a chosen box; NaN with one grounder.
        in_context: least P(yes) for a chosen candidate, outlined in the whole image.
        p_yes_kept: P(yes) on the image with only the mask's pixels.
        p_yes_complement: P(yes) on the image without the mask's pixels.
        verification: p_yes_kept * (1 - p_yes_complement): sufficient and minimal.
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
    quality: float = MISSING

    __eq__ = _same


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

    __eq__ = _same


@dataclass(frozen=True)
class Rejection:
    """An input that ended without a label.

    Attributes:
        sample_id: as of the sample, or the hash of the input line where no sample could be made.
        stage: the stage that gave up: "ingest", "rewrite", "ground", ...
        reason: a key of `REASONS`.
        detail: what was seen, for a person.
        kind, difficulty: as of the sample or the input line; "" where neither could be read.
        answer: the rewriter's answer as it stood; "" where none was given or asked for.
    """

    sample_id: str
    stage: str
    reason: str
    detail: str
    source: str
    image_uri: str = ""
    instruction: str = ""
    kind: str = ""
    difficulty: str = ""
    answer: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason must be one of {sorted(REASONS)}, got {self.reason!r}")


@dataclass(frozen=True, slots=True)
class Weight:
    """A discriminator's score of one label, appended after training stage I.

    Attributes:
        discriminator: `name@content-hash`.
        d: P(the mask is human), in (0, 1), from a fold that did not train on this sample.
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


@dataclass(frozen=True, slots=True)
class Timing:
    """What one stage spent on one part; kept outside the label set so that labels stay deterministic.

    Attributes:
        seconds: wall clock.
        rows: that entered the stage.
        requests, prompt_tokens, completion_tokens: asked of LMM endpoints; answers from a cache cost nothing.
        answers_read, answers_asked: of experts whose answers are kept: those that were, and those that had to be asked
            for.
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
        words: hash of source, kind and difficulty as the record states them, 64 bits; `UNSTATED` where it states none.
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


def image_sha(image: bytes) -> str:
    """Content address of an encoded image file, its one identity everywhere: 32 hex digits of BLAKE2b."""
    return hashlib.blake2b(image, digest_size=16).hexdigest()


def sample_id(image: bytes, instruction: str) -> str:
    """Content address of a pair: 32 hex digits of BLAKE2b over image bytes and instruction."""
    digest = hashlib.blake2b(image, digest_size=16)
    digest.update(b"\x00" + instruction.encode())
    return digest.hexdigest()
