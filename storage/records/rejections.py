"""What became of inputs that have no label, and the reasons for every decision."""

from __future__ import annotations

from dataclasses import dataclass

from storage.records.pairs import Moment

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
    "inconsistent": "the masks that are carried to this frame of an episode from both sides overlap too little",
    "no_key_frame": "no key frame of the episode has a label whose mask could be carried to this frame",
}
"""Closed set of reason codes of rejections and gate decisions, with their meaning."""

OF_OTHER_RECORDS = frozenset({"duplicate", "conflicting_targets"})
"""Reasons that lie in other records of the manifest: they say nothing of a stage, and go when the others change."""


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
        moment: as of the sample or the input line; None for a still.
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
    moment: Moment | None = None

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason must be one of {sorted(REASONS)}, got {self.reason!r}")
