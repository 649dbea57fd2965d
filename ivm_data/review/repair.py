"""Masks by a person's edits: the segmenter, loaded ahead, and what it saw, kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from ivm_data.experts.common.protocols import Segmenter
from ivm_data.review.edits import Edit, Start, edited
from ivm_data.review.shown_labels import ShownLabel
from storage.errors import ConfigError, IvmError
from storage.pixels import rle
from storage.records import Box, Rle

_KEPT = 500
"""Answers of the segmenter that are kept, as run lengths: an edit that follows does not ask for them again."""


class Repair:
    """Answers one request after the other, each from whichever thread.

    Args:
        make: gives the segmenter, without its weights.
    """

    def __init__(self, make: Callable[[], Segmenter]) -> None:
        self._make = make
        self._segmenter: Segmenter | None = None
        self._seen: OrderedDict[tuple[str, Edit], Rle] = OrderedDict()
        self._lock = threading.Lock()

    def load_ahead(self) -> None:
        """Begin to read the weights in a thread; whoever needs the segmenter is told if they cannot be used."""

        def load() -> None:
            with self._lock, suppress(IvmError):
                self._loaded()

        threading.Thread(target=load, daemon=True).start()

    def look(self, shown: ShownLabel) -> None:
        """Let the segmenter look at an image, so that its first prompt is answered at once.

        Raises:
            IvmError: its weights cannot be used.
        """
        with self._lock:
            self._loaded().segment_points([shown.image_HWC], [np.zeros((1, 2), np.float32)])

    def mask(self, shown: ShownLabel, edits: Sequence[Edit], start: Start) -> Rle:
        """What is repaired, changed by the edits.

        Raises:
            ConfigError: a point outside the image.
            IvmError: the segmenter is asked and its weights cannot be used.
        """
        height, width = shown.image_HWC.shape[:2]
        for x, y in (point for edit in edits for point in edit.points):
            if x > width or y > height:
                raise ConfigError(f"an edit at ({x:.0f}, {y:.0f}) lies outside {width}x{height} pixels")
        whole_HW = np.full((height, width), start == "everything")
        start_HW = rle.decode(shown.label.mask) if start == "label" else whole_HW
        return rle.encode(edited(start_HW, edits, lambda prompts: self._sees(shown, prompts)))

    def _sees(self, shown: ShownLabel, prompts: Sequence[Edit]) -> list[np.ndarray]:
        keys = [(shown.label.sample.id, prompt) for prompt in prompts]
        with self._lock:
            new = [key for key in dict.fromkeys(keys) if key not in self._seen]
            self._seen.update(zip(new, self._ask(shown.image_HWC, [prompt for _, prompt in new]), strict=True))
            found = [self._seen[key] for key in keys]
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return [rle.decode(mask) for mask in found]

    def _ask(self, image_HWC: np.ndarray, prompts: Sequence[Edit]) -> list[Rle]:
        """Each prompt by itself: see docs/review.md for why they are not joined."""
        if not prompts:
            return []
        segmenter = self._loaded()
        boxes = [_box(prompt) for prompt in prompts if prompt.kind == "box"]
        points_N2 = np.array([p.points[0] for p in prompts if p.kind != "box"], np.float32).reshape(-1, 2)
        in_boxes = iter(segmenter.segment([image_HWC], [boxes])[0].mask_NHW)
        at_points = iter(segmenter.segment_points([image_HWC], [points_N2])[0].mask_NHW)
        return [rle.encode(next(in_boxes if prompt.kind == "box" else at_points)) for prompt in prompts]

    def _loaded(self) -> Segmenter:
        if self._segmenter is None:
            segmenter = self._make()
            segmenter.load()
            self._segmenter = segmenter
        return self._segmenter


def _box(prompt: Edit) -> Box:
    (x0, y0), (x1, y1) = prompt.points
    return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
