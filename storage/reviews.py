"""What people think of labels: each opinion is appended at once, and taking one back is one more row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from storage import layout, schema, snapshots
from storage.errors import ShardError
from storage.files import alone_in
from storage.records import Review, Rle, Verdict
from storage.shards import write_reviews
from storage.snapshots import Snapshot

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
    data: Path, recipe: str, sample_id: str, reviewer: str, verdict: Verdict, *, note: str = "", mask: Rle | None = None
) -> Review:
    """Write one opinion as a shard of its own, later than all that this person said before."""
    with alone_in(data / "reviews" / layout.name(reviewer) / ".lock"):
        at = _next_moment(data, reviewer)
        review = Review(sample_id, recipe, reviewer, verdict, note, at, mask)
        write_reviews(data, reviewer, datetime.strptime(at, _TIME).strftime(_NAME), [review])
    return review


def read_reviews(paths: Iterable[Path]) -> list[Review]:
    """The rows of review files, oldest first.

    Raises:
        ShardError: a file cannot be read.
    """
    reviews = []
    for path in paths:
        try:
            rows = pq.read_table(path, schema=schema.REVIEWS).to_pylist()
        except (OSError, ValueError) as error:
            raise ShardError(f"reviews '{path}' cannot be read ({error}); move the file away") from error
        reviews += [Review(**row | {"mask": row["mask"] and Rle(**row["mask"])}) for row in rows]
    return sorted(reviews, key=lambda review: review.reviewed_at)


def standing(reviews: Sequence[Review]) -> list[Review]:
    """The reviews that count: of each person and label the latest one, unless it takes the opinion back."""
    latest = {(r.reviewer, r.recipe, r.sample_id): r for r in sorted(reviews, key=lambda r: r.reviewed_at)}
    return [review for review in latest.values() if review.verdict != "withdrawn"]


def adjudications(data: Path, recipe: str | None = None, snapshot: Snapshot | None = None) -> dict[str, Adjudication]:
    """Sample id -> what its reviews mean for training; labels that nobody judged, or all are unsure of, are left out.

    Raises:
        ShardError: a file of reviews cannot be used; an answer without it would mislead.
    """
    said: dict[str, list[Review]] = defaultdict(list)
    for review in standing(read_reviews(snapshots.trusted(data, "reviews", snapshot))):
        if recipe in (None, review.recipe):
            said[review.sample_id].append(review)
    found = {sample_id: adjudicate(reviews) for sample_id, reviews in said.items()}
    return {sample_id: ruling for sample_id, ruling in found.items() if ruling}


def adjudicate(reviews: Sequence[Review]) -> Adjudication | None:
    """Of standing reviews of one label: a wrong instruction outweighs a corrected mask (the latest one), that the
    verdict "wrong", and that "right"; "unsure" says nothing."""
    verdicts = {review.verdict for review in reviews}
    if "wrong_instruction" in verdicts:
        return Adjudication("wrong_instruction")
    if corrected := [review for review in reviews if review.verdict == "wrong" and review.mask]:
        return Adjudication("corrected", max(corrected, key=lambda review: review.reviewed_at).mask)
    return next((Adjudication(verdict) for verdict in ("wrong", "right") if verdict in verdicts), None)


def _next_moment(data: Path, reviewer: str) -> str:
    """Now, or just after this person's latest review where this clock is behind the one that wrote it."""
    names = [path.stem for path in (data / "reviews" / reviewer).glob("*.parquet")]
    times = [datetime.strptime(name, _NAME) for name in names if _OURS.fullmatch(name)]
    now = datetime.now(UTC).replace(tzinfo=None)
    return max([now, *(time + timedelta(microseconds=1) for time in times)]).strftime(_TIME)
