"""What the LMM is asked: one template for each job, the same words in training, stages and evaluation."""

from __future__ import annotations

from ivm_data.experts.lmms.box_answers import BoxFormat
from storage.records import Rewrite

REWRITE = "{instruction} What should I find?"
"""Text only; the answer is read by `rewrite_grammar.parse_rewrite`."""
COMPLICATE = "{phrase} Write {count} instructions that need it."
"""Text only; the answer is read by `written_instructions.read_instructions`."""
VERIFY = "{instruction} Can you follow it?"
"""Over `keep_only(image, mask, dim=VERIFY_DIM)`: yes if the mask is sufficient and minimal."""
COMPLEMENT = "Is there still a {phrases}?"
"""Over `complement(image, mask)`, with `phrases` from `wanted`: yes if a target was left out."""
PRESENCE = "Is there a {phrase}?"
"""Over the whole image."""
CANDIDATE = "Is this a {phrase}?"
"""Over `crop_box(image, box, CANDIDATE_CONTEXT)`."""
_QWEN_BOXES = "Outline the position of each {phrase} and output all the bbox coordinates in JSON format."
BOXES: dict[BoxFormat, str] = {
    "qwen2.5": _QWEN_BOXES,
    "qwen3": _QWEN_BOXES,
    "normalised": "Please provide the bounding box coordinate of the region this sentence describes: {phrase}",
}
"""Over the whole image, in the words of each model's own training; `box_answers.read_boxes` reads the answer."""

VERIFY_DIM = 0.6
"""How far the pixels outside the mask fade to white for VERIFY: anchors and left-out things stay visible."""
CANDIDATE_CONTEXT = 0.25
"""Margin around a candidate's box on every side, as a share of its longer side."""


def wanted(rewrite: Rewrite) -> str:
    """The targets in words for COMPLEMENT: "red ring or green star", "star left of small blue square"."""
    targets = " or ".join(rewrite.phrases)
    return f"{targets} {rewrite.relation} {rewrite.anchor}" if rewrite.relation else targets
