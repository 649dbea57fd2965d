"""Open X-Embodiment (2023) in RLDS, read by TensorFlow Datasets, which has to be installed for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.robots.robot_frames import language
from storage.common.validation import Checked, Count
from storage.errors import ConfigError

CAMERAS = ("image", "image_0", "rgb_static", "front_rgb", "rgb")
"""What the sets call the camera that looks at the whole scene."""


@dataclass(frozen=True)
class RldsConfig(Checked):
    """Which folder.

    Attributes:
        folder: version folder of one set, with `dataset_info.json` and `features.json`.
        split: of the set, as TensorFlow Datasets writes it: `train`, `train[:100]`.
        camera: key of the images in an observation; "" for the first one that is there of the usual names.
        every: each so many-th frame is taken, from the first.
    """

    folder: str
    split: str = "train"
    camera: str = ""
    every: Count = 10


def read_rlds(config: RldsConfig) -> Iterator[Record]:
    """Open X as RLDS: an episode's language is the instruction of every k-th frame, which is stored as it is.

    Reads: dataset_info.json, features.json, *.tfrecord-*
    """
    folder = existing(config.folder, "folder", folder=True)
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ConfigError(
            f"RLDS is read by TensorFlow Datasets, which is not here ({error}): pip install tensorflow "
            "tensorflow-datasets, or export the frames to folders and take the source 'robot-frames'"
        ) from error
    try:
        builder = tfds.builder_from_directory(str(folder))
        # Undecoded steps come as one array a feature, images as the files that they were stored as.
        episodes = builder.as_dataset(split=config.split, decoders={"steps": tfds.decode.SkipDecoding()})
    except Exception as error:  # the library raises nearly every type on foreign folders
        raise ConfigError(f"'{folder}' cannot be read as RLDS: {type(error).__name__}: {error}") from error
    for number, episode in enumerate(tfds.as_numpy(episodes)):
        yield from checked(f"{config.split}: episode {number}", episode_pairs, episode["steps"], config)


def episode_pairs(steps: dict[str, Any], config: RldsConfig) -> Iterator[ForeignPair]:
    """Every k-th frame of an episode with the instruction of its step; a step whose language is blank has none.

    Args:
        steps: one array a feature, the first axis is time; texts and images are bytes.
    """
    observation = steps["observation"]
    camera = config.camera or next((name for name in CAMERAS if name in observation), "")
    if camera not in observation:
        raise ValueError(f"no camera {camera or CAMERAS}; the observation has {', '.join(observation)}")
    said = language(steps)
    for image, text in list(zip(observation[camera], said, strict=True))[:: config.every]:
        if instruction := bytes(text).decode().strip():
            yield ForeignPair(bytes(image), instruction, kind="robot")
