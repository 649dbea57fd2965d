"""Key frames of a part's episodes, and the masks that are carried from them to the frames between.

The frames of one camera of an episode that are asked for the same thing are a `Recording`. Its key frames pass the
stages as any image does; between two of them that have a label, masks are carried from both sides (`tracks.track`).
Images are decoded as they are asked for, and masks kept as RLE, so that what lies in memory beside the part's encoded
images does not grow with an episode's frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ivm_data.engine.recordings import Recording
from ivm_data.experts.common.protocols import Segmenter, Tracker
from ivm_data.recipes.labeling_recipes import TrackConfig
from ivm_data.stages.stage import Draft
from storage.records import Rejection, Sample

NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
"""Image of a draft that has passed the stages, and waits for its neighbours."""


class Tracks:
    """The samples of a part, of which those of episodes are labeled by way of their key frames.

    Args:
        samples: stills are all asked for.
        segmenter: refines carried masks, where the config says so.
    """

    def __init__(
        self, samples: Sequence[Sample], config: TrackConfig, tracker: Tracker, segmenter: Segmenter | None = None
    ) -> None:
        self._samples = samples
        of_recording: dict[object, list[Sample]] = {}
        for sample in samples:
            of_recording.setdefault(_recording(sample), []).append(sample)
        self._recordings = [Recording(found, config, tracker, segmenter) for found in of_recording.values()]
        self._drafts: dict[str, Draft] = {}

    def first(self) -> list[Sample]:
        """Stills, and the first key frames, in the order of the part."""
        return self._in_order(sample for one in self._recordings for sample in one.first())

    def keep(self, drafts: Iterable[Draft]) -> None:
        """Take what the stages made of the samples that were asked for; one that is not given ended in a rejection."""
        self._drafts.update((draft.sample.id, replace(draft, image_HWC=NO_PIXELS)) for draft in drafts)

    def further(self) -> list[Sample]:
        """Carry masks between key frames; frames that become key frames too, in the order of the part."""
        return self._in_order(sample for one in self._recordings for sample in one.further(self._drafts))

    def ended(self) -> Iterator[tuple[list[Draft], list[Rejection]]]:
        """The drafts of each recording, and its frames that nothing could be carried to."""
        return (one.ended() for one in self._recordings)

    def _in_order(self, chosen: Iterable[Sample]) -> list[Sample]:
        ids = {sample.id for sample in chosen}
        return [sample for sample in self._samples if sample.id in ids]


def carried_between(
    samples: Sequence[Sample],
    ends: tuple[Draft | None, Draft | None],
    config: TrackConfig,
    tracker: Tracker,
    segmenter: Segmenter | None = None,
) -> tuple[list[Draft], list[Rejection]]:
    """The drafts of the frames between two key frames, and those of which nothing could be made.

    Args:
        samples: of one recording in the order of time, the key frames at its ends among them.
        ends: drafts of the first and the last sample; None where that is no key frame, but not both.
    """
    first, last = (None if draft is None else at for at, draft in zip((0, len(samples) - 1), ends, strict=True))
    keys = {at: draft for at, draft in zip((first, last), ends, strict=True) if at is not None and draft is not None}
    stretch = Recording(list(samples), config, tracker, segmenter, set(keys), keys)
    stretch.carry([(first, last)])
    drafts, lost = stretch.ended()
    return [draft for draft in drafts if draft.tracked_from], lost


def _recording(sample: Sample) -> object:
    """What the frames share that a mask may be carried between; a still shares nothing."""
    moment = sample.moment
    if moment is None or moment.frame is None:
        return sample.id
    return sample.source, moment.episode, moment.camera, sample.instruction, sample.height, sample.width
