"""The world in motion as a LeRobot v3.0 set with true masks, and as a manifest of all its frames."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from ivm_data.exports.episode_videos import Encoding, EpisodeVideos
from ivm_data.exports.lerobot_files import VIDEO_MB, VIDEO_PATH, EpisodeRows, write_meta
from ivm_data.exports.lerobot_stats import ImageStats, of_numbers
from ivm_data.sources.foreign.robots.lerobot_folder import MASK_OF, OBSERVED
from ivm_data.sources.lines import whole_manifest
from ivm_data.worlds.motion import Episode, draw_episode
from ivm_data.worlds.scene import IMAGE_SIZE, seeded
from ivm_data.worlds.split import Split
from ivm_data.worlds.templates import FIND
from storage.common.validation import Count, Natural, Share, check
from storage.outputs import mark
from storage.pixels import rle

FPS = 10
CAMERA = f"{OBSERVED}top"
TRUTH = "observation.true_masks.top"
"""Feature with the true mask of every frame, 255 where the task needs the pixel."""
LEAST = 60
"""Pixels that a thing shows in the first frame, to be a task."""
_STREAM = 8
_ENCODING = Encoding("h264", "yuv420p", FPS, Fraction(FPS))


def task(episode: Episode, split: Split, index: int) -> tuple[int, str, str]:
    """(number of a thing, its phrase, the instruction): what an episode is about.

    Things have colours of their own, so that a phrase with the colour means one of them in every frame. The thing is
    one of those that the first frame shows well; where none is, the one that the episode shows most.
    """
    rng = seeded(split, index, _STREAM)
    shown = [np.count_nonzero(masks[0]) for masks in episode.masks]
    well = [number for number, pixels in enumerate(shown) if pixels >= LEAST]
    most = int(np.argmax([sum(map(np.count_nonzero, masks)) for masks in episode.masks]))
    number = int(rng.choice(well)) if well else most
    look = episode.looks[number]
    words = [word for word in (look.size, look.texture) if rng.random() < 0.3]
    phrase = " ".join([*words, look.colour, look.shape])
    return number, phrase, str(rng.choice(FIND)).format(a=phrase)


def write_motion(
    directory: Path, split: Split, episodes: int, frames: int, human_share: float, *, start: int = 0
) -> Path:
    """Write a LeRobot v3.0 set, and `manifest.jsonl` with every frame and its true mask; the manifest appears last.

    The rows of an episode say the same of `held_out`: in about `human_share` of the episodes the masks stand for human
    labels, in all others they only score. A frame that shows nothing of the thing has no targets: it is absent there.

    Args:
        directory: is made where it is missing; the image root of the manifest.
        start: index of the first episode in the split.

    Returns:
        Path of the manifest.

    Raises:
        ConfigError: an unknown split, or a number out of range.
    """
    for name, number, kind in (("episodes", episodes, Count), ("frames", frames, Count), ("start", start, Natural)):
        check(kind, number, name)
    check(Share, human_share, "human_share")
    mark(directory, "ivm world")
    rows, videos = EpisodeRows(directory), EpisodeVideos(
        directory, VIDEO_PATH.replace("{video_key}", CAMERA), _ENCODING, VIDEO_MB << 20, 1000
    )  # fmt: skip
    tasks: dict[str, int] = {}
    meta: list[dict[str, Any]] = []
    statistics = []
    manifest = directory / "manifest.jsonl"
    with whole_manifest(manifest) as lines:
        for number in range(episodes):
            episode = draw_episode(split, start + number, frames)
            thing, phrase, instruction = task(episode, split, start + number)
            masks = episode.masks[thing]
            at = tasks.setdefault(instruction, len(tasks))
            columns = _columns(number, frames, at)
            images = pa.array([{"bytes": _png(mask_HW), "path": None} for mask_HW in masks], _PNG)
            chunk, file = rows.add(pa.table(columns).append_column(TRUTH, images))
            of_video = dict(zip(_OF_VIDEO, videos.add(episode.images), strict=True))
            meta.append(
                {"episode_index": number, "tasks": [instruction], "length": frames, "data/chunk_index": chunk,
                 "data/file_index": file, "dataset_from_index": number * frames,
                 "dataset_to_index": (number + 1) * frames}
                | {f"videos/{CAMERA}/{name}": value for name, value in of_video.items()}
                | {f"videos/{CAMERA}/to_timestamp": of_video["from_timestamp"] + frames / FPS}
            )  # fmt: skip
            statistics.append(_statistics(columns, episode, masks))
            about = {
                "instruction": instruction, "source": f"motion-{split}", "kind": "robot", "phrase": phrase,
                "held_out": not bool(seeded(split, start + number, _STREAM + 1).random() < human_share),
                "episode": f"{directory.resolve().name}/{number}", "camera": CAMERA.removeprefix(OBSERVED),
            }  # fmt: skip
            first = round(of_video["from_timestamp"] * FPS)
            path = VIDEO_PATH.format(video_key=CAMERA, **{name: int(of_video[name]) for name in _OF_VIDEO[:2]})
            lines.writelines(f"{json.dumps(about | line)}\n" for line in _lines(masks, first, path, phrase))
        rows.close()
        videos.close()
        write_meta(directory, _facts(), {at: instruction for instruction, at in tasks.items()}, meta, statistics)
    return manifest


_PNG = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_OF_VIDEO = ("chunk_index", "file_index", "from_timestamp")
_NUMBERS = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"
}  # fmt: skip


def _lines(masks: Sequence[np.ndarray], first: int, path: str, phrase: str) -> Iterator[dict[str, Any]]:
    """What the manifest says of each frame."""
    for frame, mask_HW in enumerate(masks):
        mask = rle.encode(mask_HW)
        target = {"phrase": phrase, "mask_rle": {"size": [mask.height, mask.width], "counts": mask.counts.decode()}}
        yield {
            "image": f"video://{first + frame}::{path}", "frame": frame, "time_s": frame / FPS,
            "targets": [target] if mask_HW.any() else [],
        }  # fmt: skip


def _columns(number: int, frames: int, task_index: int) -> dict[str, pa.Array]:
    values = {
        "timestamp": [frame / FPS for frame in range(frames)],
        "frame_index": list(range(frames)),
        "episode_index": [number] * frames,
        "index": list(range(number * frames, (number + 1) * frames)),
        "task_index": [task_index] * frames,
    }
    return {name: pa.array(values[name], pa.type_for_alias(kind)) for name, kind in _NUMBERS.items()}


def _statistics(columns: dict[str, pa.Array], episode: Episode, masks: Sequence[np.ndarray]) -> dict[str, Any]:
    pixels, opacity = ImageStats(3), ImageStats(1)
    for image_HWC, mask_HW in zip(episode.images, masks, strict=True):
        pixels.add(image_HWC)
        opacity.add(mask_HW.astype(np.uint8)[..., None] * 255)
    numbers = {name: of_numbers(column.to_pylist()) for name, column in columns.items()}
    return numbers | {CAMERA: pixels.summary(), TRUTH: opacity.summary()}


def _facts() -> dict[str, Any]:
    names = ["height", "width", "channel"]
    video = {"dtype": "video", "shape": [IMAGE_SIZE, IMAGE_SIZE, 3], "names": names}
    truth = {"dtype": "image", "shape": [IMAGE_SIZE, IMAGE_SIZE, 1], "names": names, "info": {MASK_OF: CAMERA}}
    numbers = {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _NUMBERS.items()}
    features: dict[str, dict[str, Any]] = {
        CAMERA: video | {"info": _ENCODING.facts(IMAGE_SIZE, IMAGE_SIZE)},
        TRUTH: truth,
        **numbers,
    }
    return {
        "robot_type": "world in motion", "fps": FPS,
        "features": {name: feature | {"fps": FPS} for name, feature in features.items()},
    }  # fmt: skip


def _png(mask_HW: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask_HW.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()
