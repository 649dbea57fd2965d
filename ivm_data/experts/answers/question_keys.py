"""What was asked of an expert, as a key: every word, number and pixel that passes through its model together."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import astuple, is_dataclass
from typing import Any

import numpy as np

from ivm_data.experts.common.seen_images import SeenImages


class Keys:
    """Keys of what is asked; an array is hashed once while it lives."""

    def __init__(self) -> None:
        self._hashes: SeenImages[str] = SeenImages()
        self._lock = threading.Lock()

    def key(self, who: str, verb: str, options: Any, rows: Sequence[tuple[Any, ...]]) -> bytes:
        """20 bytes over all of it, in order.

        Rows of one array object are told from rows of equal ones: experts ask about the same object together.

        Args:
            who: identity of the expert.
            options: whatever JSON can hold.
            rows: of texts, numbers, records, arrays, and sequences of these.
        """
        first: dict[int, int] = {}

        def plain(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return [value.shape, str(value.dtype), self._hash(value), first.setdefault(id(value), len(first))]
            if is_dataclass(value) and not isinstance(value, type):
                return astuple(value)
            raise TypeError(f"{type(value).__name__} in what is asked of an expert cannot be told from others")

        text = json.dumps([who, verb, options, rows], default=plain, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=20).digest()

    def _hash(self, array: np.ndarray) -> str:
        with self._lock:
            known = self._hashes.get(array)
        if known is None:
            known = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
            with self._lock:
                self._hashes.put(array, known)
        return known
