"""What the policy is shown in each arm: the image as it is, or masked by the truth, the model or the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.policy_masks import MODEL, RECIPE
from benchmarks.policy_network import SIDE, tokens
from benchmarks.policy_scenes import Situation
from ivm_model.masking import apply

LONGER = 4


@dataclass(frozen=True)
class Arm:
    """How the policy is shown a situation.

    Attributes:
        source: of the mask: "" for none, "truth", or a key of what `policy_masks.masks` gives.
        channel: the heatmap is a fourth channel beside the whole image, instead of an overlay.
        longer: how many times the steps of the other arms.
    """

    says: str
    source: str = ""
    channel: bool = False
    longer: int = 1


ARMS: dict[str, Arm] = {
    "raw": Arm("the whole image"),
    "raw, longer": Arm(f"the whole image, {LONGER} times the steps; at the most demonstrations alone", longer=LONGER),
    "truth": Arm("all but the true pixels white", "truth"),
    "model": Arm(f"all but `{MODEL}`'s pixels white", "model"),
    "model, channel": Arm(f"the whole image, and `{MODEL}`'s heatmap as a fourth channel", "model", channel=True),
    "engine": Arm(
        f"all but the pixels of an accepted label of `recipe:{RECIPE}` white, else the whole image", "engine"
    ),
    "other words": Arm("as model, by the mask of this image and the next scene's instruction: a control", "other"),
}
BASELINE, CONTROL = "raw", "other words"


def trainings(counts: Sequence[int]) -> list[tuple[str, int]]:
    """(arm, demonstrations) of a seed; what trains longer does so at the most demonstrations alone."""
    return [
        (arm, count) for arm, shows in ARMS.items() for count in counts if shows.longer == 1 or count == max(counts)
    ]


@dataclass(frozen=True)
class Shown:
    """Situations with the masks of each source.

    Attributes:
        made: as `policy_masks.masks` gives it.
    """

    situations: Sequence[Situation]
    made: Mapping[str, np.ndarray]

    @cached_property
    def views(self) -> dict[str, Tensor]:
        """Of each arm uint8 (N, 4, SIDE, SIDE): RGB, then the mask where the arm shows it, else 0."""
        return {name: torch.from_numpy(self._views(arm)) for name, arm in ARMS.items()}

    @cached_property
    def tokens(self) -> Tensor:
        return torch.from_numpy(np.stack([tokens(one.instruction) for one in self.situations]))

    @cached_property
    def points(self) -> Tensor:
        return torch.from_numpy(np.stack([one.points_K2 for one in self.situations]))

    def heatmaps(self, source: str) -> list[np.ndarray]:
        """HW float32 in [0, 1] of each situation; all zero where an arm has no source."""
        if source in self.made:
            return [heatmap_HW.astype(np.float32) / 255 for heatmap_HW in self.made[source]]
        truths = [one.targets_KHW.any(0).astype(np.float32) for one in self.situations]
        return truths if source == "truth" else [np.zeros_like(truth_HW) for truth_HW in truths]

    def masked(self, arm: Arm) -> list[np.ndarray]:
        """The images of an arm as large as they come, HWC uint8."""
        if arm.channel:
            return [one.image_HWC for one in self.situations]
        heatmaps = self.heatmaps(arm.source)
        return [apply(one.image_HWC, map_HW).image_HWC for one, map_HW in zip(self.situations, heatmaps, strict=True)]

    def _views(self, arm: Arm) -> np.ndarray:
        channels = [np.round(map_HW * 255 * arm.channel).astype(np.uint8) for map_HW in self.heatmaps(arm.source)]
        shown = [np.dstack(both) for both in zip(self.masked(arm), channels, strict=True)]
        small = [cv2.resize(each_HWC, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each_HWC in shown]
        return np.ascontiguousarray(np.stack(small).transpose(0, 3, 1, 2))
