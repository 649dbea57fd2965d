"""Realistic records from a seed: what a pipeline would hand to the storage."""

from __future__ import annotations

import io
from dataclasses import replace
from hashlib import sha256

import numpy as np
from PIL import Image

from storage.pixels import rle
from storage.records import (
    MISSING,
    Box,
    Candidate,
    Input,
    Label,
    Lineage,
    Moment,
    PartResult,
    Proposal,
    Rejection,
    Review,
    Sample,
    Scores,
    Status,
    Timing,
    Weight,
    sample_id,
)
from storage.request import Request, Thing

RECIPE = "3f9c0a"
EXPERTS = (("grounder", "dino@1"), ("segmenter", "sam@1"), ("verifier", "lmm@1"))
SIZE = 48


def make_image(seed: int, size: int = SIZE) -> bytes:
    pixels_HWC = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels_HWC).save(stream, format="PNG")
    return stream.getvalue()


def make_mask(rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    mask_HW = np.zeros((size, size), dtype=bool)
    x, y = rng.integers(0, size - 8, 2)
    w, h = rng.integers(4, size // 2, 2)
    mask_HW[y : y + h, x : x + w] = True
    return mask_HW


def make_request(seed: int) -> Request:
    things = [Thing("red ring", "ring", count=seed % 3, order="left", rank=2)]
    things += [Thing("blue square", of=0, relation="left of")] if seed % 2 else []
    return Request(tuple(things), "things", 0.75, "Sure! find red ring", ("words around the answer were left out",))


def make_label(
    seed: int, recipe: str = RECIPE, image_seed: int | None = None, source: str = "", noise: int = 0
) -> Label:
    """With `noise`, the image is as many random bytes: the storage does not look inside."""
    rng = np.random.default_rng(seed)
    image = rng.bytes(noise) if noise else make_image(seed if image_seed is None else image_seed)
    instruction = f"Find the red ring number {seed}."
    truth_HW = make_mask(rng)
    shifted_HW = np.roll(truth_HW, int(rng.integers(0, 6)), axis=1)
    mask = rle.encode(shifted_HW)
    human = rle.encode(truth_HW) if seed % 3 else None
    verification = float(rng.random())
    status = (Status.ACCEPTED, Status.REVIEW, Status.REJECTED, Status.NO_TARGET)[int(rng.integers(0, 4))]
    proposals = tuple(
        Proposal(
            expert=name,
            mask=rle.encode(mask_HW),
            score=float(rng.random()),
            support=0.7,
            predicted_iou=0.9,
            stability=MISSING if name == "heat@1" else 0.95,
            iou_with_label=0.8,
        )
        for name, mask_HW in (("dino@1+sam@1", shifted_HW), ("heat@1", truth_HW))
    )
    return Label(
        sample=Sample(
            id=sample_id(image, instruction),
            image=image,
            image_uri=f"images/{seed}.png",
            width=SIZE,
            height=SIZE,
            instruction=instruction,
            source=source or ("world", "photos")[seed % 2],
            kind=("attribute", "relation")[seed // 2 % 2],
            difficulty=("easy", "medium", "hard")[seed % 3],
            human_mask=human,
            held_out=seed % 6 == 1,
            moment=make_moment(seed),
        ),
        request=make_request(seed),
        candidates=(
            Candidate("dino@1", "red ring", "target", Box(1, 2.5, 30.25, 40), 0.8, float(rng.random()), MISSING, True),
            Candidate("dino@1", "red ring", "target", Box(5, 2, 10, 11), 0.3),
        ),
        proposals=proposals,
        mask=mask,
        scores=Scores(
            verification=verification,
            quality=float(rng.random()),
            agreement=0.1 + 0.2,
            area_ratio=0.25,
            consistency=0.7 if seed % 4 == 1 else MISSING,
        ),
        status=status,
        reason="ok" if status is Status.ACCEPTED else "low_quality",
        lineage=Lineage(recipe, EXPERTS),
        human_iou=rle.iou(mask, human) if human else MISSING,
        tracked_from=(f"{seed:032x}", f"{seed + 1:032x}") if seed % 4 == 1 else (),
    )


def make_rejection(seed: int) -> Rejection:
    known = {"source": "world", "image_uri": f"images/{seed}.png", "instruction": "Find", "moment": make_moment(seed)}
    return Rejection(f"{seed:032x}", "ground", "no_box", "no box for 'red ring'", **known)


def make_moment(seed: int) -> Moment | None:
    """Of two in three a frame of an episode, of one in three a still."""
    return Moment(f"toy/{seed // 6}", "high", seed, seed / 10) if seed % 3 else None


def make_part(
    part: str = "part-00000", rows: int = 12, recipe: str = RECIPE, seed: int = 0, noise: int = 0
) -> PartResult:
    """Every fifth outcome is a rejection; labels share an image in pairs."""
    outcomes = tuple(
        make_rejection(i) if i % 5 == 4 else make_label(i, recipe, image_seed=i // 2, noise=noise)
        for i in range(seed, seed + rows)
    )
    timings = tuple(Timing(part, recipe, stage, 0.5 * n, rows) for n, stage in enumerate(("ground", "segment"), 1))
    return PartResult(part, recipe, outcomes, timings)


def make_run(parts: int) -> list[PartResult]:
    """Parts that take long enough to write to be killed in the middle: 2.8 MB each."""
    return [with_inputs(make_part(f"part-{i:05d}", rows=8, seed=100 * i, noise=400_000)) for i in range(parts)]


def with_inputs(result: PartResult) -> PartResult:
    """The part with a record for each of its outcomes."""
    ids = [one.sample.id if isinstance(one, Label) else one.sample_id for one in result.outcomes]
    inputs = tuple(Input(sha256(f"{result.part} {id}".encode()).digest()[:16], id, 5, 1) for id in ids)
    return replace(result, inputs=inputs)


def make_weights(result: PartResult, discriminator: str = "lmm-head@77aa") -> list[Weight]:
    rng = np.random.default_rng(len(result.outcomes))
    labels = [outcome for outcome in result.outcomes if isinstance(outcome, Label)]
    return [Weight(x.sample.id, result.recipe, discriminator, float(rng.random()), i % 2) for i, x in enumerate(labels)]


def make_reviews(result: PartResult, reviewer: str = "ada") -> list[Review]:
    labels = [outcome for outcome in result.outcomes if isinstance(outcome, Label)]
    return [
        Review(label.sample.id, result.recipe, reviewer, "right", "", f"2024-05-01T12:00:{i:02d}Z")
        for i, label in enumerate(labels[:5])
    ]
