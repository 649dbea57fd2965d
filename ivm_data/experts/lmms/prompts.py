"""What the LMM is asked: one template for each job, the same words in training, stages and evaluation."""

from __future__ import annotations

from ivm_data.experts.lmms.box_answers import BoxFormat
from storage.request import OR, Request

REWRITE = "{instruction} What should I find?"
"""The answer is read by `request_reader.read_request`."""
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
IN_CONTEXT = "{instruction} Is the thing in the red outline part of what is meant?"
"""Over `outlined(image, box)`."""
_QWEN_BOXES = "Outline the position of each {phrase} and output all the bbox coordinates in JSON format."
BOXES: dict[BoxFormat, str] = {
    "qwen2.5": _QWEN_BOXES,
    "qwen3": _QWEN_BOXES,
    "normalised": "Please provide the bounding box coordinate of the region this sentence describes: {phrase}",
}
"""Over the whole image, in the words of each model's own training; `box_answers.read_boxes` reads the answer."""
POINTS = "Point to the {phrase}."
"""Over the whole image, in Molmo's own words; `point_answers.read_points` reads the answer."""

VERIFY_DIM = 0.6
"""How far the pixels outside the mask fade to white for VERIFY: anchors and left-out things stay visible."""
CANDIDATE_CONTEXT = 0.25
"""Margin around a candidate's box on every side, as a share of its longer side."""


def wanted(request: Request) -> str:
    """The targets in words for COMPLEMENT: "red ring or green star", "star left of small blue square"."""
    return " or ".join(dict.fromkeys(_described(request, i) for t in request.targets for i in request.options(t)))


def _described(request: Request, index: int) -> str:
    """A thing with all that describes it, in words."""
    words = [request.things[index].expression]
    described = [(i, one) for i, one in request.describing(index) if one.relation != OR]
    for relation in dict.fromkeys(one.relation for _, one in described):
        others = [_described(request, i) for i, one in described if one.relation == relation]
        words.append(f"{relation} {' and '.join(others)}")
    return " ".join(words)
