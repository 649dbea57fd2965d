"""What an encoder made of an image, kept for the next question about the same image."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

import numpy as np

Embedding = TypeVar("Embedding")

MOST = 32
"""Embeddings kept at once: two parts under way with 16 images each; 128 MiB for SAM."""


class SeenImages(Generic[Embedding]):
    """Embeddings by image array: the very array, not its content, which must not be changed in between.

    An embedding goes when its array does, or when `MOST` younger ones came.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[np.ndarray], Embedding]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, image_HWC: np.ndarray) -> Embedding | None:
        """What `put` was given for this array, if it is still held."""
        reference, embedding = self._held.get(id(image_HWC), (None, None))
        return embedding if reference is not None and reference() is image_HWC else None

    def put(self, image_HWC: np.ndarray, embedding: Embedding) -> None:
        """Hold an embedding."""
        key = id(image_HWC)
        self._held[key] = (weakref.ref(image_HWC, lambda _: self._held.pop(key, None)), embedding)
        while len(self._held) > MOST:
            self._held.pop(next(iter(self._held), 0), None)
