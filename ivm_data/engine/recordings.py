"""One recording: the frames of a camera of an episode that are asked for the same thing, and the masks between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import overload

import numpy as np

from ivm_data.experts.common.protocols import Segmenter, Tracker
from ivm_data.experts.common.tracks import Tracked, iou, track
from ivm_data.recipes.labeling_recipes import TrackConfig
from ivm_data.stages.stage import Draft, rejection
from storage.errors import InputError, IvmError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import MISSING, Box, Candidate, Proposal, Rejection, Rle, Sample

TRACK = "track"
"""Name of the pass, in rejections and timings."""


@dataclass
class _Stretch:
    """What lies between two key frames with a label, or before the first or behind the last one.

    Attributes:
        found: mask and consistency by frame; none where the tracker failed.
        at_first, at_last: consistency of the key frames at the ends.
        failed: what the tracker raised.
    """

    found: Mapping[int, tuple[Rle, float]]
    at_first: float = MISSING
    at_last: float = MISSING
    failed: str = ""


@dataclass
class Recording:
    """Frames in the order of time.

    Attributes:
        segmenter: refines carried masks, where the config says so.
        asked: those that are key frames.
        keys: of them those that have a label which counts.
        overruled: of them those that say that the target is absent, where the others show it.
        stretches: by the key frames at their ends; None for an end of the recording.
    """

    samples: list[Sample]
    config: TrackConfig
    tracker: Tracker
    segmenter: Segmenter | None = None
    asked: set[int] = field(default_factory=set)
    keys: dict[int, Draft] = field(default_factory=dict)
    overruled: set[int] = field(default_factory=set)
    stretches: dict[tuple[int | None, int | None], _Stretch] = field(default_factory=dict)
    _lasts: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.samples.sort(key=lambda sample: sample.moment.frame if sample.moment and sample.moment.frame else 0)

    def first(self) -> list[Sample]:
        """Every so many-th frame, the last one, and those in which a person drew boxes."""
        last = len(self.samples) - 1
        drawn = (at for at, sample in enumerate(self.samples) if sample.human_boxes)
        self.asked = {*range(0, last + 1, self.config.every), last, *drawn}
        return [self.samples[at] for at in sorted(self.asked)]

    def further(self, drafts: Mapping[str, Draft]) -> list[Sample]:
        """Carry masks along the stretches that are new; the most doubtful frame of each is a key frame next."""
        ids = {at: self.samples[at].id for at in self.asked}
        known = {at: drafts[name] for at, name in sorted(ids.items()) if name in drafts}
        self.overruled = self._contradicted(known)
        self.keys = {at: draft for at, draft in known.items() if at not in self.overruled}
        self.carry([*pairwise([None, *self.keys, None])] if self.keys else [])
        doubtful = sorted(worst for span in self.stretches if (worst := self._worst(*span)) is not None)
        room = int(self.config.budget * len(self.samples)) - len(self.asked)
        chosen = [at for _, _, at in doubtful[: max(room, 0)]]
        self.asked.update(chosen)
        return [self.samples[at] for at in chosen]

    def carry(self, spans: Iterable[tuple[int | None, int | None]]) -> None:
        """Carry masks along these stretches alone; those that are known are not carried again."""
        self.stretches = {
            span: self.stretches.get(span) or self._carried(*span) for span in spans if self._inner(*span)
        }

    def ended(self) -> tuple[list[Draft], list[Rejection]]:
        """Drafts of the key frames and of those between, and frames without either."""
        drafts = {at: draft.scored(**self._of_key(at)) for at, draft in self.keys.items()}
        rejected = []
        for ends, stretch in self.stretches.items():
            for at in sorted(set(self._inner(*ends)) - (self.asked - self.overruled)):
                try:
                    if at not in stretch.found:
                        raise _NotCarriedError(stretch.failed)
                    drafts[at] = self._tracked(at, *stretch.found[at], ends)
                except Exception as error:
                    rejected.append(rejection(self.samples[at], TRACK, "expert_failed", _said(error)))
        why = f"none of the {len(self.asked)} key frames of its episode has a label"
        lost = set() if self.keys else set(range(len(self.samples))) - self.asked
        rejected += [rejection(self.samples[at], TRACK, "no_key_frame", why) for at in sorted(lost)]
        return [drafts[at] for at in sorted(drafts)], rejected

    def _contradicted(self, known: Mapping[int, Draft]) -> set[int]:
        """Key frames that say that the target is absent, where masks from the key frames beside them still show it."""
        shown = [at for at, draft in known.items() if draft.mask is not None]
        found = set()
        for at in (at for at, draft in known.items() if draft.absent and self.config.absence < 1):
            before, behind = [key for key in shown if key < at], [key for key in shown if key > at]
            left = [self._left(known[key], key, at) for key in (*before[-1:], *behind[:1])]
            if left and min(left) >= self.config.absence:
                found.add(at)
        return found

    def _left(self, key: Draft, start: int, at: int) -> float:
        """Share of a key frame's pixels that its mask still has in another frame; 0 where the tracker fails."""
        if (start, at) not in self._lasts:
            step = 1 if at > start else -1
            images = Images(self.samples[min(start, at) : max(start, at) + 1])[::step]
            assert key.mask is not None
            try:
                carried_HW = self.tracker.carry(images, rle.decode(key.mask))[-1]
                left = float(np.count_nonzero(carried_HW) / max(rle.area(key.mask), 1))
            except Exception as error:
                _said(error)
                left = 0.0
            self._lasts[start, at] = left
        return self._lasts[start, at]

    def _inner(self, first: int | None, last: int | None) -> range:
        """The frames between two key frames, as far as they go."""
        return range(-1 if first is None else first, len(self.samples) if last is None else last)[1:]

    def _carried(self, first: int | None, last: int | None) -> _Stretch:
        begin = 0 if first is None else first
        end = len(self.samples) - 1 if last is None else last
        keys = {at - begin: self._mask(at) for at in (first, last) if at is not None}
        if _whole(self.keys[at] for at in (first, last) if at is not None):
            found = [Tracked(np.ones_like(next(iter(keys.values()))), 1.0)] * (end - begin + 1)
        else:
            try:
                found = track(self.tracker, Images(self.samples[begin : end + 1]), keys)
            except Exception as error:
                return _Stretch({}, failed=_said(error))
        between = ((at, found[at - begin]) for at in self._inner(first, last))
        inner = {at: (rle.encode(one.mask_HW), one.consistency) for at, one in between}
        return _Stretch(inner, found[0].consistency, found[-1].consistency)

    def _mask(self, at: int) -> np.ndarray:
        mask, sample = self.keys[at].mask, self.samples[at]
        return np.zeros((sample.height, sample.width), bool) if mask is None else rle.decode(mask)

    def _worst(self, first: int | None, last: int | None) -> tuple[float, float, int] | None:
        """(consistency, distance from the middle, place) of the frame of a stretch that is most in doubt."""
        inner = self._inner(first, last)
        middle = (inner[0] + inner[-1]) / 2
        found = self.stretches[first, last].found
        doubtful = [
            (consistency, abs(at - middle), at)
            for at, (_, consistency) in found.items()
            if consistency < self.config.consistency and at not in self.asked
        ]
        return min(doubtful, default=None)

    def _of_key(self, at: int) -> dict[str, float]:
        """The consistency of a key frame: the mean over the stretches that end there."""
        known = [one.at_first for (first, _), one in self.stretches.items() if first == at]
        known += [one.at_last for (_, last), one in self.stretches.items() if last == at]
        known = [value for value in known if not math.isnan(value)]
        return {"consistency": sum(known) / len(known)} if known else {}

    def _tracked(self, at: int, mask: Rle, consistency: float, ends: tuple[int | None, int | None]) -> Draft:
        """What is said of a frame that no grounder and no LMM looked at: its mask is carried, all else is the nearer
        key frame's."""
        near, *others = sorted((end for end in ends if end is not None), key=lambda end: (abs(end - at), end))
        key, proposal = self.keys[near], self._proposal(at, mask)
        box = None if proposal is None else rle.bbox(proposal.mask)
        draft = replace(
            key, sample=self.samples[at], candidates=(), proposals=(), absent=box is None, mask=None,
            tracked_from=tuple(self.samples[end].id for end in (near, *others)),
        ).scored(area_ratio=MISSING, consistency=consistency)  # fmt: skip
        if proposal is None or box is None:
            return draft
        chosen = {one.phrase for one in key.candidates if one.chosen and one.role == "target"}
        phrases = [phrase for phrase in key.request.phrases if phrase in chosen or key.sample.human_boxes]
        return replace(
            draft,
            mask=proposal.mask,
            candidates=tuple(
                Candidate(self.tracker.name, phrase, "target", box, key.scores.grounding, chosen=True)
                for phrase in phrases
            ),
            proposals=(proposal,),
        ).scored(area_ratio=rle.area(proposal.mask) / (mask.height * mask.width))

    def _proposal(self, at: int, mask: Rle) -> Proposal | None:
        """A carried mask, or what the segmenter sees in the box around it where both overlap enough; None for none."""
        box = rle.bbox(mask)
        if box is None:
            return None
        carried = Proposal(self.tracker.name, mask, 1.0, iou_with_label=1.0)
        if self.config.refine is None or self.segmenter is None or _covers(box, mask):
            return carried
        (seen,) = self.segmenter.segment([decode(self.samples[at].image)], [[box]])
        if iou(seen.mask_NHW[0], rle.decode(mask)) < self.config.refine:
            return carried
        name = f"{self.tracker.name}+{self.segmenter.name}"
        said = {"predicted_iou": float(seen.predicted_iou_N[0]), "stability": float(seen.stability_N[0])}
        return Proposal(name, rle.encode(seen.mask_NHW[0]), 1.0, iou_with_label=1.0, **said)


class _NotCarriedError(Exception):
    """A frame whose stretch the tracker failed on."""


def _said(error: Exception) -> str:
    """What an expert raised, as a rejection tells it; an error of the engine itself is raised."""
    if isinstance(error, IvmError) and not isinstance(error, InputError):
        raise error
    return str(error) if isinstance(error, _NotCarriedError) else f"{type(error).__name__}: {error}"[:500]


def _covers(box: Box, mask: Rle) -> bool:
    """Whether a box is the whole image."""
    return (box.x0, box.y0, box.x1, box.y1) == (0, 0, mask.width, mask.height)


def _whole(keys: Iterable[Draft]) -> bool:
    """Whether the key frames need every pixel, and so do the frames between."""
    return all(key.is_answered and not key.absent for key in keys)


class Images(Sequence[np.ndarray]):
    """The images of samples, HWC uint8 RGB, decoded when they are asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, at: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, at: slice) -> Images: ...
    def __getitem__(self, at: int | slice) -> np.ndarray | Images:
        return Images(self._samples[at]) if isinstance(at, slice) else decode(self._samples[at].image)
