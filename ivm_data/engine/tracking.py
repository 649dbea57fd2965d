"""Key frames of a part's episodes, and the masks that are carried from them to the frames between.

The frames of one camera of an episode that are asked for the same thing are a `_Recording`. Its key frames pass the
stages as any image does; between two of them that have a label, masks are carried from both sides (`tracks.track`).
Images are decoded as they are asked for, and masks kept as RLE, so that what lies in memory beside the part's encoded
images does not grow with an episode's frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import overload

import numpy as np

from ivm_data.experts.common.protocols import Tracker
from ivm_data.experts.common.tracks import Tracked, track
from ivm_data.recipes.labeling_recipes import TrackConfig
from ivm_data.stages.stage import Draft, rejection
from storage.errors import InputError, IvmError
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import MISSING, Candidate, Proposal, Rejection, Rle, Sample

TRACK = "track"
"""Name of the pass, in rejections and timings."""
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
"""Image of a draft that has passed the stages, and waits for its neighbours."""


class Tracks:
    """The samples of a part, of which those of episodes are labeled by way of their key frames.

    Args:
        samples: stills are all asked for.
    """

    def __init__(self, samples: Sequence[Sample], config: TrackConfig, tracker: Tracker) -> None:
        self._samples, self._tracker = samples, tracker
        of_recording: dict[object, list[Sample]] = {}
        for sample in samples:
            of_recording.setdefault(_recording(sample), []).append(sample)
        self._recordings = [_Recording(found, config) for found in of_recording.values()]
        self._drafts: dict[str, Draft] = {}

    def first(self) -> list[Sample]:
        """Stills, and the first key frames, in the order of the part."""
        return self._in_order(sample for one in self._recordings for sample in one.first())

    def keep(self, drafts: Iterable[Draft]) -> None:
        """Take what the stages made of the samples that were asked for; one that is not given ended in a rejection."""
        self._drafts.update((draft.sample.id, replace(draft, image_HWC=NO_PIXELS)) for draft in drafts)

    def further(self) -> list[Sample]:
        """Carry masks between key frames; frames that become key frames too, in the order of the part."""
        return self._in_order(sample for one in self._recordings for sample in one.further(self._drafts, self._tracker))

    def ended(self) -> Iterator[tuple[list[Draft], list[Rejection]]]:
        """The drafts of each recording, and its frames that nothing could be carried to."""
        return (one.ended(self._tracker.name) for one in self._recordings)

    def _in_order(self, chosen: Iterable[Sample]) -> list[Sample]:
        ids = {sample.id for sample in chosen}
        return [sample for sample in self._samples if sample.id in ids]


def carried_between(
    samples: Sequence[Sample], ends: tuple[Draft | None, Draft | None], config: TrackConfig, tracker: Tracker
) -> tuple[list[Draft], list[Rejection]]:
    """The drafts of the frames between two key frames, and of which nothing could be made.

    Args:
        samples: of one recording in the order of time, the key frames at its ends among them.
        ends: drafts of the first and the last sample; None where that is no key frame, but not both.
    """
    places = (0, len(samples) - 1)
    keys = {at: draft for at, draft in zip(places, ends, strict=True) if draft is not None}
    span = tuple(at if at in keys else None for at in places)
    stretch = _Recording(list(samples), config, set(keys), keys)
    stretch.stretches[span[0], span[1]] = stretch._carried(tracker, span[0], span[1])
    drafts, lost = stretch.ended(tracker.name)
    return [draft for draft in drafts if draft.tracked_from], lost


def _recording(sample: Sample) -> object:
    """What the frames share that a mask may be carried between; a still shares nothing."""
    moment = sample.moment
    if moment is None or moment.frame is None:
        return sample.id
    return sample.source, moment.episode, moment.camera, sample.instruction, sample.height, sample.width


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
class _Recording:
    """Frames in the order of time.

    Attributes:
        asked: those that are key frames.
        keys: of them those that have a label.
        stretches: by the key frames at their ends; None for an end of the recording.
    """

    samples: list[Sample]
    config: TrackConfig
    asked: set[int] = field(default_factory=set)
    keys: dict[int, Draft] = field(default_factory=dict)
    stretches: dict[tuple[int | None, int | None], _Stretch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.samples.sort(key=lambda sample: sample.moment.frame if sample.moment and sample.moment.frame else 0)

    def first(self) -> list[Sample]:
        """Every so many-th frame, the last one, and those in which a person drew boxes."""
        last = len(self.samples) - 1
        drawn = (at for at, sample in enumerate(self.samples) if sample.human_boxes)
        self.asked = {*range(0, last + 1, self.config.every), last, *drawn}
        return [self.samples[at] for at in sorted(self.asked)]

    def further(self, drafts: Mapping[str, Draft], tracker: Tracker) -> list[Sample]:
        """Carry masks along the stretches that are new; the most doubtful frame of each is a key frame next."""
        ids = {at: self.samples[at].id for at in self.asked}
        self.keys = {at: drafts[name] for at, name in sorted(ids.items()) if name in drafts}
        spans = [*pairwise([None, *self.keys, None])] if self.keys else []
        self.stretches = {
            span: self.stretches.get(span) or self._carried(tracker, *span) for span in spans if self._inner(*span)
        }
        doubtful = sorted(worst for span in self.stretches if (worst := self._worst(*span)) is not None)
        room = int(self.config.budget * len(self.samples)) - len(self.asked)
        chosen = [at for _, _, at in doubtful[: max(room, 0)]]
        self.asked.update(chosen)
        return [self.samples[at] for at in chosen]

    def ended(self, tracker: str) -> tuple[list[Draft], list[Rejection]]:
        """Drafts of the key frames and of those between, and frames without either."""
        drafts = {at: draft.scored(**self._of_key(at)) for at, draft in self.keys.items()}
        rejected = []
        for ends, stretch in self.stretches.items():
            for at in set(self._inner(*ends)) - self.asked:
                if at in stretch.found:
                    drafts[at] = self._tracked(at, *stretch.found[at], ends, tracker)
                else:
                    rejected.append(rejection(self.samples[at], TRACK, "expert_failed", stretch.failed))
        why = f"none of the {len(self.asked)} key frames of its episode has a label"
        lost = set() if self.keys else set(range(len(self.samples))) - self.asked
        rejected += [rejection(self.samples[at], TRACK, "no_key_frame", why) for at in sorted(lost)]
        return [drafts[at] for at in sorted(drafts)], rejected

    def _inner(self, first: int | None, last: int | None) -> range:
        """The frames between two key frames, as far as they go."""
        return range(-1 if first is None else first, len(self.samples) if last is None else last)[1:]

    def _carried(self, tracker: Tracker, first: int | None, last: int | None) -> _Stretch:
        begin = 0 if first is None else first
        end = len(self.samples) - 1 if last is None else last
        keys = {at - begin: self._mask(at) for at in (first, last) if at is not None}
        if _whole(self.keys[at] for at in (first, last) if at is not None):
            found = [Tracked(np.ones_like(next(iter(keys.values()))), 1.0)] * (end - begin + 1)
        else:
            try:
                found = track(tracker, _Images(self.samples[begin : end + 1]), keys)
            except Exception as error:  # whatever a model raises on one stretch is that stretch's alone
                if isinstance(error, IvmError) and not isinstance(error, InputError):
                    raise
                return _Stretch({}, failed=f"{type(error).__name__}: {error}"[:500])
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

    def _tracked(
        self, at: int, mask: Rle, consistency: float, ends: tuple[int | None, int | None], tracker: str
    ) -> Draft:
        """What is said of a frame that no expert looked at: its mask is carried, all else is the nearer key frame's."""
        near, *others = sorted((end for end in ends if end is not None), key=lambda end: (abs(end - at), end))
        key, box = self.keys[near], rle.bbox(mask)
        draft = replace(
            key, sample=self.samples[at], candidates=(), proposals=(), absent=box is None, mask=None,
            tracked_from=tuple(self.samples[end].id for end in (near, *others)),
        ).scored(area_ratio=MISSING, consistency=consistency)  # fmt: skip
        if box is None:
            return draft
        chosen = {one.phrase for one in key.candidates if one.chosen and one.role == "target"}
        phrases = [phrase for phrase in key.request.phrases if phrase in chosen or key.sample.human_boxes]
        return replace(
            draft,
            mask=mask,
            candidates=tuple(
                Candidate(tracker, phrase, "target", box, key.scores.grounding, chosen=True) for phrase in phrases
            ),
            proposals=(Proposal(tracker, mask, 1.0, iou_with_label=1.0),),
        ).scored(area_ratio=rle.area(mask) / (mask.height * mask.width))


def _whole(keys: Iterable[Draft]) -> bool:
    """Whether the key frames need every pixel, and so do the frames between."""
    return all(key.is_answered and not key.absent for key in keys)


class _Images(Sequence[np.ndarray]):
    """The images of samples, HWC uint8 RGB, decoded when they are asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, at: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, at: slice) -> _Images: ...
    def __getitem__(self, at: int | slice) -> np.ndarray | _Images:
        return _Images(self._samples[at]) if isinstance(at, slice) else decode(self._samples[at].image)
