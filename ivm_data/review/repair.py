"""Masks by a person's edits: the segmenter, loaded ahead, and what it saw, kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np

from ivm_data.experts.common.protocols import Segmenter
from ivm_data.experts.segmenters.prompted_masks import JoinedPrompt, PromptedSegmenter
from ivm_data.review.edits import Edit, Start, Step, edited, steps_of
from ivm_data.review.shown_labels import ShownLabel
from storage.errors import ConfigError, IvmError
from storage.pixels import rle
from storage.records import Box, Rle

_KEPT = 500
"""Answers of the segmenter that are kept, as run lengths: an edit that follows does not ask for them again."""

_GLANCE = 0.1
"""Seconds after which a look that waits sees whether it is still wanted."""


class Repair:
    """Answers one request after the other, each from whichever thread.

    Args:
        make: gives the segmenter, without its weights.
    """

    def __init__(self, make: Callable[[], Segmenter]) -> None:
        self._make = make
        self._segmenter: Segmenter | None = None
        self._latest: ShownLabel | None = None
        self._seen: OrderedDict[tuple[str, Step], Rle] = OrderedDict()
        self._lock = threading.Lock()

    def load_ahead(self) -> None:
        """Begin to read the weights in a thread; whoever needs the segmenter is told if they cannot be used."""

        def load() -> None:
            with self._lock, suppress(IvmError):
                self._loaded()

        threading.Thread(target=load, daemon=True).start()

    def look(self, shown: ShownLabel) -> bool:
        """Let the segmenter look at an image, so that its first prompt is answered at once.

        It does not where another image is asked for before it is free: the person went on, and nothing waits for it.

        Returns:
            Whether it looked and joins prompts.

        Raises:
            IvmError: its weights cannot be used.
        """
        self._latest = shown
        while self._latest is shown:
            if self._lock.acquire(timeout=_GLANCE):
                try:
                    return self._look(shown)
                finally:
                    self._lock.release()
        return False

    def _look(self, shown: ShownLabel) -> bool:
        if self._latest is not shown:
            return False
        segmenter = self._loaded()
        segmenter.segment_points([shown.image_HWC], [np.zeros((1, 2), np.float32)])
        return joins(segmenter)

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
        with self._lock:
            joined = any(edit.is_prompt for edit in edits) and joins(self._loaded())
        steps = steps_of(edits, joined=joined)
        return rle.encode(edited(start_HW, steps, lambda asked: self._sees(shown, asked)))

    def _sees(self, shown: ShownLabel, steps: Sequence[Step]) -> list[np.ndarray]:
        keys = [(shown.label.sample.id, step) for step in steps]
        with self._lock:
            new = [key for key in dict.fromkeys(keys) if key not in self._seen]
            asked = _ask(self._loaded(), shown.image_HWC, [step for _, step in new])
            self._seen.update(zip(new, map(rle.encode, asked), strict=True))
            found = [self._seen[key] for key in keys]
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return [rle.decode(mask) for mask in found]

    def _loaded(self) -> Segmenter:
        if self._segmenter is None:
            segmenter = self._make()
            segmenter.load()
            self._segmenter = segmenter
        return self._segmenter


def joins(segmenter: Segmenter) -> bool:
    """Whether several prompts of one thing can be asked together."""
    return bool(getattr(segmenter, "joins_prompts", False))


def _ask(segmenter: Segmenter, image_HWC: np.ndarray, steps: Sequence[Step]) -> list[np.ndarray]:
    """A mask for each step: those of one box or point together, joined ones each by itself."""
    boxes = [_box(step[0]) for step in steps if len(step) == 1 and step[0].kind == "box"]
    points = [step[0].points[0] for step in steps if len(step) == 1 and step[0].kind != "box"]
    points_N2 = np.array(points, np.float32).reshape(-1, 2)
    in_boxes = iter(segmenter.segment([image_HWC], [boxes])[0].mask_NHW if boxes else ())
    at_points = iter(segmenter.segment_points([image_HWC], [points_N2])[0].mask_NHW if points else ())
    found = []
    for step in steps:
        if len(step) > 1 and joins(segmenter):
            joining = cast("PromptedSegmenter[Any]", segmenter)
            found.append(joining.segment_joined(image_HWC, _joined(step)).mask_NHW[0])
        else:
            found.append(next(in_boxes if step[0].kind == "box" else at_points))
    return found


def _joined(step: Step) -> JoinedPrompt:
    """One prompt of several edits; where the first takes a thing away, what is removed lies on that thing."""
    on = "remove" if step[0].kind == "remove" else "add"
    points = [edit for edit in step if edit.kind != "box"]
    boxes = [_box(edit) for edit in step if edit.kind == "box"]
    return JoinedPrompt(
        np.array([edit.points[0] for edit in points], np.float32),
        np.array([edit.kind == on for edit in points]),
        boxes[-1] if boxes else None,
    )


def _box(prompt: Edit) -> Box:
    (x0, y0), (x1, y1) = prompt.points
    return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
