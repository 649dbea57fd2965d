"""The Arrow schemas of every file in a data set, versioned, with a description on each field.

A label part is two files. *Light* has a row for every outcome and answers questions about quality; *heavy* has a row
for every label, in the same order, and holds the pixels. Numbers are float64 so that a label read back equals the
label written; a score that no expert gave is NULL.
"""

from __future__ import annotations

import pyarrow as pa

VERSION = 1
"""Raised when a column changes its name, type or meaning."""

LATER = (
    *("scope", "things", "answer", "answer_notes", "witnessed", "in_context", "evidence", "incomplete", "drawn"),
    *("answers_read", "answers_asked", "tiles"),
    *("episode", "camera", "frame", "time_s", "tracked_from", "consistency"),
)
"""Columns that files from before them lack: they read as NULL, and a NULL in them is no part of a row's hash."""

SCORES = {
    "understood": "share of the instruction's words that rewriter and grounder know",
    "presence": "the LMM's probability that the target is in the image",
    "grounding": "least grounder score among the chosen boxes",
    "margin": "least distance between a chosen candidate's combined score and its runner-up's",
    "candidate": "least verifier probability among the chosen candidates",
    "relation": "least relation score among the chosen candidates",
    "predicted_iou": "least predicted IoU among the proposals",
    "stability": "least mask stability among the proposals",
    "agreement": "mean pairwise IoU of the proposals; of no target: 1 - mean score of what proposers draw nonetheless",
    "area_ratio": "fused mask area over image area",
    "witnessed": "least share of the grounders that found a chosen box; NULL with one grounder",
    "in_context": "least P(yes) for a chosen candidate, outlined in the whole image",
    "p_yes_kept": "P(yes) on the image with only the mask's pixels",
    "p_yes_complement": "P(yes) on the image without the mask's pixels",
    "verification": "p_yes_kept * (1 - p_yes_complement): sufficient and minimal",
    "consistency": "IoU of masks carried here from key frames on both sides; NULL for stills and at the ends",
    "quality": "calibrated probability that the mask overlaps the truth with IoU >= 0.5",
}
"""The columns of `storage.records.Scores`, all in [0, 1]."""


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


def _schema(name: str, *fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"ivm_schema": name, "ivm_version": str(VERSION)})


_KEYS = (
    _field("recipe", pa.string(), "hash of the whole recipe"),
    _field("part", pa.string(), "name of the part: the unit of work, retry and commit"),
    _field("position", pa.int32(), "index of the outcome in its part, in input order"),
    _field("sample_id", pa.string(), "hash of image bytes and instruction; of the input line where none could be made"),
)

_BOX = pa.struct([pa.field(side, pa.float64(), nullable=False) for side in ("x0", "y0", "x1", "y1")])

_RLE = pa.struct(
    [
        _field("height", pa.int32(), "pixels"),
        _field("width", pa.int32(), "pixels"),
        _field("counts", pa.binary(), "COCO compressed RLE"),
    ]
)

_REWRITE = pa.struct(
    [
        _field("phrases", pa.list_(pa.string()), "target noun phrases, one for each target group"),
        _field("anchor", pa.string(), "noun phrase that the target is described by, or empty"),
        _field("relation", pa.string(), "how the target lies to the anchor, or empty"),
        _field("quantity", pa.string(), "'one' object for each phrase, or 'all' that match"),
        _field("understood", pa.float64(), "share of the instruction's words that rewriter and grounder know"),
    ]
)

_THING = pa.struct(
    [
        _field("expression", pa.string(), "words that refer to the thing"),
        _field("noun", pa.string(), "what a detector knows of it; empty where that is the expression"),
        _field("count", pa.int32(), "how many are meant; 0 for every one that fits"),
        _field("order", pa.string(), "side from which things are counted, or size by which they are ranked; or empty"),
        _field("rank", pa.int32(), "the how manieth in that order"),
        _field("reads", pa.bool_(), "it is writing, to be read"),
        _field("step", pa.int32(), "step of the instruction that needs it first"),
        _field("of", pa.int32(), "index of the thing that this one describes; -1 for a target"),
        _field("relation", pa.string(), "how thing 'of' lies to this one; 'except' and 'or'; empty for a target"),
    ]
)

_CANDIDATE = pa.struct(
    [
        _field("expert", pa.string(), "grounder, model@revision"),
        _field("phrase", pa.string(), "noun phrase that was searched for"),
        _field("role", pa.string(), "'target' or 'anchor'"),
        _field("box", _BOX, "XYXY, pixels of the original image, right and bottom exclusive"),
        _field("score", pa.float64(), "the grounder's score of the phrase's own token span"),
        _field("p_yes", pa.float64(), "the verifier's probability that the box shows the phrase", nullable=True),
        _field("relation", pa.float64(), "how well the box fits the relation to the anchor", nullable=True),
        _field("chosen", pa.bool_(), "the resolve stage kept it"),
    ]
)

_WITNESS = pa.struct(
    [
        _field("expert", pa.string(), "grounder, model@revision"),
        _field("phrase", pa.string(), "what it was asked for"),
        _field("score", pa.float64(), "its score"),
    ]
)

_EVIDENCE = pa.struct(
    [
        _field("in_context", pa.float64(), "P(yes) with the candidate outlined in the whole image", nullable=True),
        _field("witnesses", pa.list_(_WITNESS), "the boxes that were united in the candidate"),
    ]
)

_PROPOSAL = pa.struct(
    [
        _field("expert", pa.string(), "model@revision, joined with '+' where several models made it"),
        _field("score", pa.float64(), "weight of this mask in the consensus"),
        _field("support", pa.float64(), "what the expert itself thinks of its mask", nullable=True),
        _field("predicted_iou", pa.float64(), "the segmenter's own estimate", nullable=True),
        _field("stability", pa.float64(), "|logit > t + d| / |logit > t - d|, d = 1", nullable=True),
        _field("iou_with_label", pa.float64(), "IoU with the fused mask", nullable=True),
        _field("area", pa.int64(), "foreground pixels"),
        _field("human_iou", pa.float64(), "IoU with the human mask", nullable=True),
    ]
)

_PAIR = pa.struct(
    [
        _field("first", pa.string(), "expert of the earlier proposal"),
        _field("second", pa.string(), "expert of the later proposal"),
        _field("iou", pa.float64(), "IoU of their masks"),
    ]
)

_EXPERT = pa.struct([_field("role", pa.string(), "what the expert did"), _field("name", pa.string(), "model@revision")])

LIGHT = _schema(
    "light",
    *_KEYS,
    _field("outcome", pa.string(), "'label' or 'rejection'"),
    _field("source", pa.string(), "name of the data set"),
    _field("kind", pa.string(), "the source's own word for the type of instruction, or empty"),
    _field("difficulty", pa.string(), "the source's own word for how hard the pair is, or empty"),
    _field("held_out", pa.bool_(), "the human mask only scores labels; it is never trained or calibrated on"),
    _field("image_uri", pa.string(), "where the image came from"),
    _field("image_sha", pa.string(), "BLAKE2b of the image file, 32 hex digits; empty for a rejection"),
    _field("width", pa.int32(), "image width in pixels after EXIF rotation", nullable=True),
    _field("height", pa.int32(), "image height in pixels after EXIF rotation", nullable=True),
    _field("instruction", pa.string(), "what the image is asked for"),
    _field("episode", pa.string(), "recording that the image is of; NULL for a still", nullable=True),
    _field("camera", pa.string(), "which of the recording's cameras; NULL where it is not said", nullable=True),
    _field("frame", pa.int32(), "number of the frame in the episode, from 0; NULL for no video", nullable=True),
    _field("time_s", pa.float64(), "seconds from the episode's start; NULL where nobody knows", nullable=True),
    _field(
        "status",
        pa.string(),
        "accepted, review, rejected, no_target or whole_image; NULL for a rejection",
        nullable=True,
    ),
    _field("stage", pa.string(), "the stage that gave up; NULL for a label", nullable=True),
    _field("reason", pa.string(), "reason code, a key of storage.records.REASONS"),
    _field("detail", pa.string(), "what a rejection saw, for a person; NULL for a label", nullable=True),
    _field("rewrite", _REWRITE, "what the instruction asks for, in short; 'things' has all of it", nullable=True),
    _field("scope", pa.string(), "'things', 'whole image' or 'nothing' to point at", nullable=True),
    _field("things", pa.list_(_THING), "the things that the instruction names, targets and others", nullable=True),
    _field("answer", pa.string(), "the rewriter's answer as it stood", nullable=True),
    _field("answer_notes", pa.list_(pa.string()), "what was done to read the answer", nullable=True),
    *(_field(name, pa.float64(), description, nullable=True) for name, description in SCORES.items()),
    _field("human_iou", pa.float64(), "IoU of the label with the human mask", nullable=True),
    _field("has_human", pa.bool_(), "the sample came with a human mask"),
    _field("area", pa.int64(), "foreground pixels of the label", nullable=True),
    _field("human_area", pa.int64(), "foreground pixels of the human mask", nullable=True),
    _field("incomplete", pa.bool_(), "a target has no chosen box, so the mask can hold only a part", nullable=True),
    _field("candidates", pa.list_(_CANDIDATE), "boxes that the grounders found", nullable=True),
    _field("evidence", pa.list_(_EVIDENCE), "what else is known of each candidate, in their order", nullable=True),
    _field("proposals", pa.list_(_PROPOSAL), "the experts' masks, without pixels", nullable=True),
    _field("pairs", pa.list_(_PAIR), "IoU of every two proposals", nullable=True),
    _field("experts", pa.list_(_EXPERT), "lineage: every model@revision by its role", nullable=True),
    _field(
        "tracked_from",
        pa.list_(pa.string()),
        "sample_ids of the key frames that the mask was carried from; NULL where experts looked at the image",
        nullable=True,
    ),
)

HEAVY = _schema(
    "heavy",
    *_KEYS,
    _field("height", pa.int32(), "height of every mask, pixels"),
    _field("width", pa.int32(), "width of every mask, pixels"),
    _field("image_sha", pa.string(), "BLAKE2b of the image file, 32 hex digits"),
    _field("image", pa.binary(), "the image file; only in the image's first row of a row group", nullable=True),
    _field("mask", pa.binary(), "the label as COCO compressed RLE counts"),
    _field("human_mask", pa.binary(), "the human mask as COCO compressed RLE counts", nullable=True),
    _field("proposal_masks", pa.list_(pa.binary()), "the proposals' masks, in the light row's order"),
)

INPUTS = _schema(
    "inputs",
    _field("recipe", pa.string(), "hash of the whole recipe"),
    _field("part", pa.string(), "name of the part that took the record in"),
    _field("record", pa.binary(16), "hash of the manifest's record and of the folder that its paths are relative to"),
    _field("sample_id", pa.string(), "the outcome that the record stands for, in this part or in another"),
    _field("facts", pa.uint64(), "hash of human mask, boxes and held_out as the record gives them; 0: not known"),
    _field("words", pa.uint64(), "hash of source, kind, difficulty and moment as stated; 0: not known, 1: none stated"),
    _field("duplicate", pa.bool_(), "another record of the manifest counts instead, or contradicts this one"),
    _field(
        "replaces",
        pa.string(),
        "sample_id of the outcome that counts no more, or empty",
    ),
)

WEIGHTS = _schema(
    "weights",
    _field("sample_id", pa.string(), "sample of the weighted label"),
    _field("recipe", pa.string(), "recipe of the weighted label"),
    _field("discriminator", pa.string(), "name@content-hash"),
    _field(
        "d",
        pa.float64(),
        "P(the mask is human), of a judge P(right), in (0, 1), from a fold that did not see this sample",
    ),
    _field("fold", pa.int32(), "index of that fold"),
)

TIMINGS = _schema(
    "timings",
    _field("part", pa.string(), "name of the part"),
    _field("recipe", pa.string(), "hash of the whole recipe"),
    _field("stage", pa.string(), "name of the stage"),
    _field("seconds", pa.float64(), "wall-clock seconds that the stage spent on the part"),
    _field("rows", pa.int64(), "rows that entered the stage"),
    _field("requests", pa.int64(), "requests that LMM endpoints answered; answers from a cache are none"),
    _field("prompt_tokens", pa.int64(), "tokens that the endpoints counted in the prompts"),
    _field("completion_tokens", pa.int64(), "tokens that the endpoints counted in the answers"),
    _field("answers_read", pa.int64(), "answers of experts that were kept from an earlier time", nullable=True),
    _field("answers_asked", pa.int64(), "answers of experts that had to be asked for", nullable=True),
    _field("tiles", pa.int64(), "parts of large pictures that experts were asked about", nullable=True),
)

_DRAWN = pa.struct(
    [
        _field("order", pa.string(), "'random' or 'informative'"),
        _field("status", pa.string(), "only labels of this status were shown, or empty"),
        _field("source", pa.string(), "only labels of this source were shown, or empty"),
        _field("kind", pa.string(), "only labels of this kind were shown, or empty"),
        _field("above", pa.float64(), "least quality that was shown"),
        _field("quality", pa.string(), "hash of where that quality came from, or empty"),
    ]
)

REVIEWS = _schema(
    "reviews",
    _field("sample_id", pa.string(), "sample of the reviewed label"),
    _field("recipe", pa.string(), "recipe of the reviewed label"),
    _field("reviewer", pa.string(), "who looked"),
    _field("verdict", pa.string(), "right, wrong, wrong_instruction, unsure, or withdrawn: taken back"),
    _field("note", pa.string(), "what the reviewer saw, or empty"),
    _field("reviewed_at", pa.string(), "UTC time, ISO 8601"),
    _field("mask", _RLE, "the right mask that the reviewer made for a wrong label", nullable=True),
    _field("drawn", _DRAWN, "how the label was chosen; NULL where nobody wrote that down", nullable=True),
)

DECISIONS = _schema(
    "decisions",
    _field("sample_id", pa.string(), "sample of the label"),
    _field("recipe", pa.string(), "recipe of the label"),
    _field("rule", pa.string(), "cleaning rule"),
    _field("scope", pa.string(), "'mask': the engine's mask alone, or 'sample': image and instruction, any mask"),
    _field("verdict", pa.string(), "'exclude' or 'include'; the latest of a rule counts"),
    _field("reason", pa.string(), "what the rule saw"),
    _field("parameters", pa.string(), "the rule's parameters, JSON"),
    _field("who", pa.string(), "who applied or undid the rule"),
    _field("decided_at", pa.string(), "UTC time, ISO 8601"),
)

RELIABILITY = _schema(
    "reliability",
    _field("recipe", pa.string(), "recipe of the labels"),
    _field("expert", pa.string(), "model@revision"),
    _field("sensitivity", pa.float64(), "P(the expert marks a pixel | it is needed), estimated by STAPLE"),
    _field("specificity", pa.float64(), "P(the expert leaves a pixel | it is not needed), estimated by STAPLE"),
    _field("labels", pa.int64(), "labels with a mask of this expert and of another one"),
    _field("measured_at", pa.string(), "UTC time, ISO 8601"),
)

_VOTE = pa.struct(
    [
        _field("experts", pa.int64(), "bit i is set where proposal i of the label marks the pixel"),
        _field("pixels", pa.int64(), "how many pixels are marked by exactly these"),
    ]
)

MEASURES = _schema(
    "measures",
    *_KEYS,
    _field("image_sha", pa.string(), "BLAKE2b of the image file, 32 hex digits"),
    _field("image_hash", pa.uint64(), "perceptual hash of the image, 64 bits", nullable=True),
    _field("components", pa.int32(), "connected components of the mask, 8 neighbours"),
    _field("largest", pa.float64(), "share of the mask's pixels in its largest component", nullable=True),
    _field("extent", _BOX, "box around the mask, XYXY in pixels, right and bottom exclusive", nullable=True),
    _field("votes", pa.list_(_VOTE), "pixels by the proposals that mark them"),
)

EVALUATION = _schema(
    "evaluation",
    _field("evaluation_set", pa.string(), "name of the evaluation set"),
    _field("image_uri", pa.string(), "path of the image in the set"),
    _field("image_sha", pa.string(), "BLAKE2b of the image file, 32 hex digits"),
    _field("image_hash", pa.uint64(), "perceptual hash of the image, 64 bits"),
)


def describe(schema: pa.Schema) -> dict[str, str]:
    """Column name -> description."""
    return {field.name: field.metadata[b"description"].decode() for field in schema}


def mismatch(found: pa.Schema, expected: pa.Schema) -> str:
    """Why a file's schema is not the expected one, in words; "" where it is."""
    seen = found.metadata or {}
    if b"ivm_schema" not in seen:
        return "foreign: it was not written by this engine"
    for key in (b"ivm_schema", b"ivm_version"):
        if seen.get(key) != expected.metadata[key]:
            return f"{key.decode()} is {seen.get(key, b'').decode()!r}, expected {expected.metadata[key].decode()!r}"
    if found.equals(expected):
        return ""
    have, want = ({f.name: (f.type, f.nullable) for f in side} for side in (found, expected))
    wrong = {name for name in have | want if have.get(name) != want.get(name) or found.names.count(name) > 1}
    odd = sorted(name for name in wrong if name in have or name not in LATER)
    return f"these columns differ from schema version {VERSION}: {odd}" if odd else ""
