"""Features that an export adds to a LeRobot set: the masked video, the masks, and where each comes from."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from ivm_data.exports.episode_videos import Encoding, EpisodeVideos
from ivm_data.sources.foreign.robots.lerobot_folder import MASK_OF, OBSERVED

NO_MASK, LABELED, TRACKED = 0, 1, 2
"""Values of the feature `mask_by.CAMERA`: nobody knows what the frame needs; its label has the mask; it was carried
from the labels of other frames."""
Hide = Literal["overlay", "blur", "gray"]
"""What becomes of pixels that are not needed, in a video whose frames keep their size."""


@dataclass
class MaskedCamera:
    """A camera, and the features that are made of it.

    Attributes:
        key: of the camera.
        replace: the masked video takes the camera's own key.
        videos: of the masked frames; None before the first episode.
        size: (height, width) of the frames.
    """

    key: str
    replace: bool
    videos: EpisodeVideos | None = None
    encoding: Encoding | None = None
    size: tuple[int, int] = (0, 0)

    @property
    def video_key(self) -> str:
        """Feature of the masked video."""
        return self.key if self.replace else f"{self.key}_masked"

    @property
    def mask_key(self) -> str:
        """Feature of the masks."""
        return f"observation.masks.{self.key.removeprefix(OBSERVED)}"

    @property
    def by_key(self) -> str:
        """Feature that says where each mask comes from."""
        return f"mask_by.{self.key.removeprefix(OBSERVED)}"

    @property
    def told(self) -> str:
        """The features in words."""
        return (
            f"masked video `{self.video_key}`, masks `{self.mask_key}` (255 is needed), and `{self.by_key}` "
            f"({NO_MASK}: no mask, {LABELED}: labeled, {TRACKED}: tracked)"
        )


def facts_with(info: Mapping[str, Any], cameras: Sequence[MaskedCamera], how: Hide) -> dict[str, Any]:
    """A source's info.json with the features that are made of its cameras."""
    facts = copy.deepcopy(dict(info))
    features = facts["features"]
    for feature in features.values():
        if feature.get("dtype") != "video":
            feature.setdefault("fps", facts["fps"])
    for camera in cameras:
        assert camera.encoding is not None
        told = camera.encoding.facts(*camera.size) | {"ivm.masked": camera.key, "ivm.how": how}
        shape = _shape(features[camera.key], camera.size)
        features[camera.video_key] = copy.deepcopy(features[camera.key]) | shape | {"info": told}
        features[camera.mask_key] = {
            "dtype": "image",
            "shape": [*camera.size, 1],
            "names": ["height", "width", "channel"],
            "fps": facts["fps"],
            "info": {MASK_OF: camera.key},
        }
        features[camera.by_key] = {"dtype": "int64", "shape": [1], "names": None, "fps": facts["fps"]}
    return facts


def _shape(feature: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The shape of frames of a size, which is not the camera's own where its video is stored turned."""
    sides = dict(zip(("height", "width"), size, strict=True))
    names, shape = feature.get("names"), feature.get("shape")
    if not isinstance(names, list) or not isinstance(shape, list) or len(names) != len(shape):
        return {}
    return {"shape": [sides.get(name, side) for name, side in zip(names, shape, strict=True)]}


def metadata_with(rows: pa.Table, cameras: Sequence[MaskedCamera]) -> dict[bytes, bytes]:
    """What `datasets` and the hub read of the columns; empty where the source says nothing of its own."""
    told = json.loads((rows.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = told.get("info", {}).get("features")
    if not features:
        return {}
    for camera in cameras:
        features[camera.mask_key] = {"_type": "Image"}
        features[camera.by_key] = {"dtype": "int64", "_type": "Value"}
    return {b"huggingface": json.dumps(told).encode()}
