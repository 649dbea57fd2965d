"""Scores that are numbers: NaN is below every threshold, so that it would pass for "there is no such thing"."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ivm_data.experts.common.protocols import AnswerError

if TYPE_CHECKING:
    import torch

Values = TypeVar("Values", "np.ndarray", "torch.Tensor")


def check_finite(values: Values, what: str) -> Values:
    """The values, if all of them are numbers.

    Raises:
        AnswerError: NaN or an infinity is among them.
    """
    finite = np.isfinite(values) if isinstance(values, np.ndarray) else values.isfinite()
    if not finite.all():
        raise AnswerError(f"{what} hold NaN or infinity; set the expert's 'dtype' to bfloat16 or float32")
    return values
