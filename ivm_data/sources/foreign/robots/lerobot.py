"""LeRobot data sets v2.0, v2.1 and v3.0 (Hugging Face): frames stay in their videos and are decoded when they are read.

A frame is named by its number in its video, and says of which episode and camera it is; see `lerobot_folder` for what
lies where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, Record, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.robots.lerobot_folder import OBSERVED, LerobotFolder
from storage.common.validation import Checked, Count
from storage.records import Moment


@dataclass(frozen=True)
class LerobotConfig(Checked):
    """Which folder.

    Attributes:
        folder: the data set's, with meta/info.json.
        images: the same folder, relative to the image root.
        camera: one camera, `observation.images.cam_high` or `cam_high`; "" for all.
        every: each so many-th frame of an episode is taken, from the first.
    """

    folder: str
    images: str = ""
    camera: str = ""
    every: Count = 10


def read_lerobot(config: LerobotConfig) -> Iterator[Record]:
    """LeRobot: an episode's task is the instruction of every k-th frame of each camera, read from its video.

    Reads: meta/info.json, meta/tasks.*, meta/episodes*, data/, videos/
    """
    data = LerobotFolder(existing(config.folder, "folder", folder=True))
    cameras = data.cameras(config.camera)
    named = set()
    for episode in data.episodes():
        if isinstance(episode, BadRecord):
            yield episode
        else:
            named.add(episode.get("episode_index"))
            yield from checked(f"episode {episode.get('episode_index')}", _pairs, data, episode, cameras, config)
    counted = data.info.get("total_episodes")
    if isinstance(counted, int) and (missing := sorted(set(range(counted)) - named)):
        shown = ", ".join(map(str, missing[:8])) + (" and more" if len(missing) > 8 else "")
        yield BadRecord("meta/info.json", f"it counts {counted} episodes, and meta/episodes does not name {shown}")


def _pairs(
    data: LerobotFolder, episode: dict[str, Any], cameras: dict[str, str], config: LerobotConfig
) -> Iterator[ForeignPair]:
    """Every k-th frame of an episode, camera after camera."""
    stored = [camera for camera, kind in cameras.items() if kind == "image"]
    rows = data.frames(episode, ["task_index", *stored])
    tasks = rows["task_index"].to_pylist()
    name = episode_name(config.folder, config.images, episode["episode_index"])
    for camera, kind in cameras.items():
        short = camera.removeprefix(OBSERVED)
        place = data.video(episode, camera) if kind == "video" else None
        if place is not None:
            data.check_times(*place, len(rows))
        for row in range(0, len(rows), config.every):
            instruction = data.task(tasks[row])
            if place is None:
                image: str | bytes = rows[camera][row].as_py()["bytes"]
                if not image:
                    raise ValueError(f"frame {row} of {camera} has no bytes")
            else:
                path, first = place
                image = f"video://{first + row}::{image_path(config.images, path)}"
            moment = Moment(name, short, row, data.seconds(row))
            yield ForeignPair(image, instruction, kind="robot", source=f"lerobot/{short}", moment=moment)


def episode_name(folder: str, images: str, number: object) -> str:
    """What rows call an episode of a set: `g1/3`; the set is called as its images are, or as its folder."""
    return f"{(images or Path(folder).resolve().name).strip('/')}/{number}"
