"""Records to rows and back: a light and a heavy row hold a whole `Label`, a light row alone holds a `Rejection`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import combinations
from typing import Any

from storage.pixels import rle
from storage.records import (
    HUMAN,
    MISSING,
    Box,
    Candidate,
    Drawn,
    Label,
    Lineage,
    Moment,
    PartResult,
    Proposal,
    Rejection,
    Rle,
    Sample,
    Scores,
    Status,
    Witness,
)
from storage.request import Request, Thing

RowDict = dict[str, Any]

HEAVY_ROWS = 64
"""Rows of a heavy row group. A group is whole in itself: it holds the bytes of every image that it names, once."""


def light_rows(result: PartResult) -> Iterator[RowDict]:
    """One row for each outcome, in input order."""
    for position, outcome in enumerate(result.outcomes):
        keys = {"recipe": result.recipe, "part": result.part, "position": position}
        yield keys | (_light_label(outcome) if isinstance(outcome, Label) else _light_rejection(outcome))


def heavy_rows(result: PartResult) -> Iterator[RowDict]:
    """One row for each label, in input order; a repeated image's bytes are left out within a row group."""
    labels = [(i, outcome) for i, outcome in enumerate(result.outcomes) if isinstance(outcome, Label)]
    keys = {"recipe": result.recipe, "part": result.part}
    yield from share_images({**keys, "position": position, **_heavy_label(label)} for position, label in labels)


def share_images(rows: Iterable[RowDict]) -> Iterator[RowDict]:
    """Heavy rows, each with its image's bytes -> the same rows with the bytes once in each row group."""
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if index % HEAVY_ROWS == 0:
            seen.clear()
        yield row | {"image": None} if row["image_sha"] in seen else row
        seen.add(row["image_sha"])


def fact_row(fact: Any) -> RowDict:
    """A fact, such as a `Weight` or a `Review`, as a row."""
    row = {name: getattr(fact, name) for name in fact.__dataclass_fields__}
    return row | {name: asdict(value) for name, value in row.items() if isinstance(value, Rle | Drawn)}


def to_label(light: Mapping[str, Any], heavy: Mapping[str, Any]) -> Label:
    """Join the two rows of a label; `heavy["image"]` must hold the bytes."""
    human = heavy["human_mask"]
    masks = [_mask(heavy, counts) for counts in heavy["proposal_masks"]]
    candidates = _candidates(light)
    sample = Sample(
        id=light["sample_id"],
        image=heavy["image"],
        human_mask=None if human is None else _mask(heavy, human),
        human_boxes=tuple(candidate.box for candidate in candidates if candidate.expert == HUMAN),
        moment=moment_of(light),
        **{name: light[name] for name in _SAMPLE},
    )
    return Label(
        sample=sample,
        request=_request(light),
        candidates=candidates,
        proposals=tuple(
            Proposal(mask=mask, **_floats(row, _PROPOSAL)) for row, mask in zip(light["proposals"], masks, strict=True)
        ),
        mask=_mask(heavy, heavy["mask"]),
        scores=Scores(**_floats(light, _SCORES)),
        status=Status(light["status"]),
        reason=light["reason"],
        lineage=Lineage(light["recipe"], tuple((e["role"], e["name"]) for e in light["experts"])),
        human_iou=_floats(light, ("human_iou",))["human_iou"],
        tracked_from=tuple(light.get("tracked_from") or ()),
    )


_SAMPLE = ("image_uri", "width", "height", "instruction", "source", "kind", "difficulty", "held_out")
_SCORES = tuple(f.name for f in fields(Scores))
_CANDIDATE = tuple(f.name for f in fields(Candidate) if f.name not in ("in_context", "witnesses"))
_PROPOSAL = tuple(f.name for f in fields(Proposal) if f.name != "mask")


def _light_rejection(rejection: Rejection) -> RowDict:
    blank = {"image_sha": "", "held_out": False, "has_human": False}
    said = _flat(rejection) | {"answer": rejection.answer or None} | _moment_columns(rejection.moment)
    return {"outcome": "rejection", **blank, **{name: value for name, value in said.items() if name != "moment"}}


def moment_of(light: Mapping[str, Any]) -> Moment | None:
    """Where in an episode the image of a light row lies; None for a still."""
    if light.get("episode") is None:
        return None
    return Moment(light["episode"], light["camera"] or "", light["frame"], light["time_s"])


def _moment_columns(moment: Moment | None) -> RowDict:
    """Nothing for a still: its columns are NULL."""
    return {} if moment is None else _flat(moment) | {"camera": moment.camera or None}


def _light_label(label: Label) -> RowDict:
    sample, human = label.sample, label.sample.human_mask
    return {
        "outcome": "label",
        "sample_id": sample.id,
        **{name: getattr(sample, name) for name in _SAMPLE},
        "image_sha": sample.image_sha,
        **_moment_columns(sample.moment),
        "status": label.status.value,
        "reason": label.reason,
        **_request_columns(label.request),
        **_flat(label.scores),
        "human_iou": _null(label.human_iou),
        "has_human": human is not None,
        "area": rle.area(label.mask),
        "incomplete": _is_incomplete(label),
        "human_area": None if human is None else rle.area(human),
        **_candidate_columns(label.candidates),
        "proposals": [_light_proposal(proposal, human) for proposal in label.proposals],
        "pairs": [
            {"first": a.expert, "second": b.expert, "iou": rle.iou(a.mask, b.mask)}
            for a, b in combinations(label.proposals, 2)
        ],
        "experts": [{"role": role, "name": name} for role, name in label.lineage.experts],
        "tracked_from": list(label.tracked_from) or None,
    }


def _is_incomplete(label: Label) -> bool:
    """Whether a target has no chosen box; a label that needs no box, or has a person's, is whole."""
    if label.sample.human_boxes or label.request.scope == "whole image" or not rle.area(label.mask):
        return False
    return bool(label.request.unfound({c.phrase for c in label.candidates if c.chosen and c.role == "target"}))


def _request_columns(request: Request) -> RowDict:
    short = ("phrases", "anchor", "relation", "quantity", "understood")
    return {
        "rewrite": {name: getattr(request, name) for name in short},
        "scope": request.scope,
        "things": [_flat(thing) for thing in request.things],
        "answer": request.answer or None,
        "answer_notes": list(request.notes) or None,
    }


def _request(light: Mapping[str, Any]) -> Request:
    """The request of a label row; of one from before `things` was a column, from its short form."""
    short = dict(light["rewrite"])
    understood = short.pop("understood")
    if light.get("things") is None:
        return replace(Request.of(**short | {"phrases": tuple(short["phrases"])}), understood=understood)
    things = tuple(Thing(**thing) for thing in light["things"])
    return Request(things, light["scope"], understood, light["answer"] or "", tuple(light["answer_notes"] or ()))


def _candidate_columns(candidates: Sequence[Candidate]) -> RowDict:
    evidence = [
        {"in_context": _null(one.in_context), "witnesses": [_flat(witness) for witness in one.witnesses]}
        for one in candidates
    ]
    return {
        "candidates": [_flat(one, _CANDIDATE) | {"box": _flat(one.box)} for one in candidates],
        "evidence": evidence if any(row["witnesses"] or row["in_context"] is not None for row in evidence) else None,
    }


def _candidates(light: Mapping[str, Any]) -> tuple[Candidate, ...]:
    nothing: RowDict = {"in_context": None, "witnesses": []}
    evidence = light.get("evidence") or [nothing] * len(light["candidates"])
    return tuple(
        Candidate(
            **_floats(row, _CANDIDATE) | {"box": Box(**row["box"])},
            in_context=MISSING if more["in_context"] is None else more["in_context"],
            witnesses=tuple(Witness(**witness) for witness in more["witnesses"]),
        )
        for row, more in zip(light["candidates"], evidence, strict=True)
    )


def _light_proposal(proposal: Proposal, human: Rle | None) -> RowDict:
    return _flat(proposal, _PROPOSAL) | {
        "area": rle.area(proposal.mask),
        "human_iou": None if human is None else rle.iou(proposal.mask, human),
    }


def _heavy_label(label: Label) -> RowDict:
    sample = label.sample
    masks = [label.mask, *(proposal.mask for proposal in label.proposals)]
    _check_frame(sample, masks if sample.human_mask is None else [*masks, sample.human_mask])
    return {
        "sample_id": sample.id,
        "height": sample.height,
        "width": sample.width,
        "image_sha": sample.image_sha,
        "image": sample.image,
        "mask": label.mask.counts,
        "human_mask": None if sample.human_mask is None else sample.human_mask.counts,
        "proposal_masks": [proposal.mask.counts for proposal in label.proposals],
    }


def _check_frame(sample: Sample, masks: Iterable[Rle]) -> None:
    for mask in masks:
        if (mask.height, mask.width) != (sample.height, sample.width):
            raise ValueError(
                f"every mask of sample {sample.id} must have its image's size {sample.height}x{sample.width} "
                f"(height x width), got {mask.height}x{mask.width}"
            )


def _mask(heavy: Mapping[str, Any], counts: bytes) -> Rle:
    return Rle(heavy["height"], heavy["width"], counts)


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _flat(record: Any, names: Iterable[str] = ()) -> RowDict:
    """A record's fields, or those named, as they are but for NaN; `dataclasses.asdict` copies all that is below."""
    return {name: _null(getattr(record, name)) for name in names or record.__dataclass_fields__}


def _floats(row: Mapping[str, Any], names: Iterable[str]) -> RowDict:
    # The one object MISSING, not any NaN: it makes records with missing scores compare equal.
    return {name: MISSING if row.get(name) is None else row[name] for name in names}
