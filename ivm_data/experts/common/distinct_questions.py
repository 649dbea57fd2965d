"""Equal questions about the same image cost one answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivm_data.experts.common.protocols import Verifier


def p_yes_once(verifier: Verifier, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
    """P(yes) of every question, (N,) float32; of those in equal words about the same array one is asked."""
    keys = [(id(image), question) for image, question in zip(images, questions, strict=True)]
    first: dict[tuple[int, str], int] = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    if not first:
        return np.empty(0, np.float32)
    asked = list(first.values())
    answers = dict(zip(first, verifier.p_yes([images[i] for i in asked], [questions[i] for i in asked]), strict=True))
    return np.array([answers[key] for key in keys], np.float32)
