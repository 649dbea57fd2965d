"""What a promised precision still needs of a reviewer, while the review goes on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ivm_data.quality.judged import evidence
from ivm_data.quality.promise import Wish
from ivm_data.quality.regate import current
from storage.data_set import DataSet


def promise_needs(data: DataSet, precision: float) -> dict[str, Any]:
    """`Promise` over all labels with confidence 0.95, as `ivm gate --precision` would find it now, and a sentence.

    Args:
        precision: in (0, 1).
    """
    known = evidence(data, current(data), "")
    if not len(known.quality_N):
        return {"more": None, "text": "no label has a quality"}
    one = known.promise("", Wish(precision))
    if one.accept is not None:
        text = f"holds: {one.accepted} of {one.labels} labels, quality from {one.accept:.2f} on"
    elif one.more is None:
        text = "no number of reviews would do"
    else:
        text = f"{one.more} more random reviews, quality from {one.above:.2f} on"
    return asdict(one) | {"text": text}
