"""Reviews of labels by people: each is appended at once, and taking one back is one more row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from storage.parts import layout, schema
from storage.parts.files import alone_in, readable
from storage.parts.shards import write_reviews
from storage.records import Drawn, Review, Rle, Verdict

if TYPE_CHECKING:
    pass

_TIME, _NAME = "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H-%M-%S.%fZ"
"""A moment in a row, and in a file's name."""

_OURS = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Adjudication:
    """What the reviews of a label together mean for training.

    Attributes:
        verdict: "right": the engine's mask counts as a human one; "corrected": `mask` does; "wrong": the engine's mask
            never trains; "wrong_instruction": nothing of this pair trains.
    """

    verdict: str
    mask: Rle | None = None


def append(
    data: Path,
    recipe: str,
    sample_id: str,
    reviewer: str,
    verdict: Verdict,
    *,
    note: str = "",
    mask: Rle | None = None,
    drawn: Drawn | None = None,
) -> Review:
    """Write one review as a shard of its own, later than all of this person before."""
    with alone_in(data / "reviews" / layout.name(reviewer) / ".lock"):
        at = _next_moment(data, reviewer)
        review = Review(sample_id, recipe, reviewer, verdict, note, at, mask, drawn)
        write_reviews(data, reviewer, datetime.strptime(at, _TIME).strftime(_NAME), [review])
    return review


def read(paths: Iterable[Path]) -> list[Review]:
    """The rows of review files, oldest first.

    Raises:
        ShardError: a file cannot be read.
    """
    reviews = []
    for path in paths:
        with readable(path):
            rows = pq.read_table(path, schema=schema.REVIEWS).to_pylist()
        reviews += [_review(row) for row in rows]
    return sorted(reviews, key=lambda review: review.reviewed_at)


def _review(row: dict[str, Any]) -> Review:
    return Review(**row | {"mask": row["mask"] and Rle(**row["mask"]), "drawn": row["drawn"] and Drawn(**row["drawn"])})


def current(reviews: Sequence[Review]) -> list[Review]:
    """The reviews that count: of each person and label the latest one, unless it takes the review back."""
    latest = {(r.reviewer, r.recipe, r.sample_id): r for r in sorted(reviews, key=lambda r: r.reviewed_at)}
    return [review for review in latest.values() if review.verdict != "withdrawn"]


def adjudicate_all(reviews: Sequence[Review], recipe: str = "") -> dict[str, Adjudication]:
    """Sample id -> what its reviews mean for training; labels without one, or only "unsure" ones, are left out.

    Args:
        reviews: all of them; those that count are chosen here.
        recipe: only those of its labels.
    """
    of_label: dict[str, list[Review]] = defaultdict(list)
    for review in current(reviews):
        if recipe in ("", review.recipe):
            of_label[review.sample_id].append(review)
    found = {sample_id: adjudicate(each) for sample_id, each in of_label.items()}
    return {sample_id: adjudication for sample_id, adjudication in found.items() if adjudication}


def adjudicate(reviews: Sequence[Review]) -> Adjudication | None:
    """Of current reviews of one label: a wrong instruction outweighs a corrected mask (the latest one), that the
    verdict "wrong", and that "right"; "unsure" says nothing."""
    verdicts = {review.verdict for review in reviews}
    if "wrong_instruction" in verdicts:
        return Adjudication("wrong_instruction")
    if corrected := [review for review in reviews if review.verdict == "wrong" and review.mask]:
        return Adjudication("corrected", max(corrected, key=lambda review: review.reviewed_at).mask)
    return next((Adjudication(verdict) for verdict in ("wrong", "right") if verdict in verdicts), None)


def _next_moment(data: Path, reviewer: str) -> str:
    """Now, or just after this person's latest review where this clock is behind the writer's."""
    names = (path.stem for path in (data / "reviews" / reviewer).glob("*.parquet"))
    # Names of one width sort as their times do; to parse thousands of them would take longer than to write.
    latest = max((name for name in names if _OURS.fullmatch(name)), default="")
    now = datetime.now(UTC).replace(tzinfo=None)
    after = datetime.strptime(latest, _NAME) + timedelta(microseconds=1) if latest else now
    return max(now, after).strftime(_TIME)
