"""Episodes of a LeRobot set, one after another: rows with masks, and masked videos."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from PIL import Image

from ivm_data.exports.episode_videos import Encoding, EpisodeVideos
from ivm_data.exports.frame_masks import FrameMasks, recording
from ivm_data.exports.lerobot_features import LABELED, NO_MASK, TRACKED, Hide, MaskedCamera, facts_with, metadata_with
from ivm_data.exports.lerobot_files import PER_CHUNK, VIDEO_MB, VIDEO_PATH, CopiedVideos, EpisodeRows, write_meta
from ivm_data.exports.lerobot_gaps import Fill
from ivm_data.exports.lerobot_stats import ImageStats, Stats, of_numbers
from ivm_data.sources.foreign.common.foreign_reader import BadRecord, reason
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.robots.lerobot import episode_name
from ivm_data.sources.foreign.robots.lerobot_folder import OBSERVED, LerobotFolder
from ivm_model import masking
from storage.errors import ConfigError, InputError
from storage.pixels import rle
from storage.pixels.video import Video
from storage.records import Rle

_PNG = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class _Frames:
    """What an episode shows by one camera: the frames of a file from `first` on, and the masks that there are."""

    camera: MaskedCamera
    path: Path
    first: int
    labeled: Set[int]
    masks: Mapping[int, Rle]
    counted: tuple[int, int]


@dataclass
class EpisodeExport:
    """Writes a set's episodes. A context manager.

    Attributes:
        images: the source's folder relative to the image root.
        episodes, frames: what was written.
        masked: frames of masked videos.
        labels, absent: labels behind them, and those whose mask is empty.
        left_out: reason by the source's number of an episode.
        videos: references of the source's videos.
        recordings: what its rows are called by episode and camera.
    """

    source: LerobotFolder
    folder: Path
    masks: FrameMasks
    cameras: list[MaskedCamera]
    images: str
    how: Hide
    fill: Fill
    episodes: int = 0
    frames: int = 0
    masked: int = 0
    labels: int = 0
    absent: int = 0
    left_out: dict[Any, str] = field(default_factory=dict)
    videos: set[str] = field(default_factory=set)
    recordings: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._rows, self._copied = EpisodeRows(self.folder), CopiedVideos(self.source.folder, self.folder)
        self._meta: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        made = {key for camera in self.cameras for key in (camera.video_key, camera.mask_key, camera.by_key)}
        replaced = {camera.key for camera in self.cameras if camera.replace}
        if there := sorted((made - replaced) & self.source.info["features"].keys()):
            raise ConfigError(
                f"'{self.source.folder}' has a feature {there[0]!r} already; export the set it was made of"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._rows.close()
        for camera in self.cameras:
            if camera.videos is not None:
                camera.videos.close()
        if kind is None and self.episodes:
            write_meta(
                self.folder,
                facts_with(self.source.info, self.cameras, self.how),
                self.source.tasks,
                self._meta,
                self._stats,
            )

    def run(self) -> None:
        """Write every episode that can be; the others are left out with their reason."""
        for episode in self.source.episodes(statistics=True):
            if isinstance(episode, BadRecord):
                self.left_out[episode.where] = episode.why
                continue
            number = episode.get("episode_index", "?")
            try:
                rows = self.source.frames(episode)
                tasks = [self.source.task(index) for index in dict.fromkeys(rows["task_index"].to_pylist())]
                stats = self._kept_stats(episode)
                shown = [self._shown(episode, camera, len(rows)) for camera in self.cameras]
            except (ValueError, KeyError, TypeError, InputError) as error:
                self.left_out[number] = reason(error)
                continue
            self._write(episode, rows, tasks, shown, stats)

    def _shown(self, episode: dict[str, Any], camera: MaskedCamera, length: int) -> _Frames:
        """An episode's frames by one camera, all of which can be read.

        Raises:
            ValueError: frames without a mask that must have one, or of another size than the masks or other episodes.
            InputError: the video is torn or too short.
        """
        path, first = self.source.video(episode, camera.key)
        self.source.check_times(path, first, length)
        reference = image_path(self.images, path)
        self.videos.add(reference)
        short = camera.key.removeprefix(OBSERVED)
        named = recording(episode_name(str(self.source.folder), self.images, episode["episode_index"]), short)
        self.recordings.add(named)
        labeled = self.masks.masks(reference, first, length) | self.masks.masks(named, 0, length)
        carried = self.masks.tracked(reference, first, length) | self.masks.tracked(named, 0, length)
        file = self.source.folder / path
        with Video(file) as video:
            rate = Fraction(self.source.info["fps"]).limit_denominator(1001)
            camera.encoding = camera.encoding or Encoding.of(video, rate)
            for row in range(length):
                size = video.frame(first + row).shape[:2]
                camera.size = camera.size if any(camera.size) else size
                mask = labeled.get(row)
                if size != camera.size or (mask is not None and size != (mask.height, mask.width)):
                    raise ValueError(f"frame {row} of {camera.key} has another size than its mask or other episodes")
            masks = self.fill.filled(labeled, length, lambda row: video.frame(first + row))
        by_address, by_name = self.masks.counted(reference, first, length), self.masks.counted(named, 0, length)
        counted = by_address[0] + by_name[0], by_address[1] + by_name[1]
        return _Frames(camera, file, first, labeled.keys() - carried, masks, counted)

    def _write(
        self,
        episode: dict[str, Any],
        rows: pa.Table,
        tasks: list[str],
        shown: list[_Frames],
        stats: dict[str, Stats],
    ) -> None:
        number, length = self.episodes, len(rows)
        place: dict[str, Any] = {}
        for key in self._untouched:
            path, first = self.source.video(episode, key)
            made = *self._copied.add(key, path), first / self._fps
            place |= _video_place(key, made, length, self._fps)
        for one in shown:
            camera = one.camera
            camera.videos = camera.videos or self._open(camera)
            pixels, opacity = ImageStats(3), ImageStats(1)
            made = camera.videos.add(self._masked(one, length, pixels, opacity))
            place |= _video_place(camera.video_key, made, length, self._fps)
            by = [_by(one, row) for row in range(length)]
            pngs = pa.array([{"bytes": png, "path": None} for png in self._pngs(one, length)], _PNG)
            rows = rows.append_column(camera.mask_key, pngs).append_column(camera.by_key, pa.array(by, pa.int64()))
            stats |= {camera.video_key: pixels.summary(), camera.mask_key: opacity.summary()}
            stats[camera.by_key] = of_numbers(by)
            self.labels, self.absent = self.labels + one.counted[0], self.absent + one.counted[1]
            self.masked += length
        indices = range(self.frames, self.frames + length)
        rows = _with(rows, "episode_index", [number] * length)
        rows = _with(rows, "index", list(indices))
        stats |= {"episode_index": of_numbers([number] * length), "index": of_numbers(indices)}
        chunk, file = self._rows.add(rows.replace_schema_metadata(metadata_with(rows, self.cameras)))
        self._meta.append(
            {"episode_index": number, "tasks": tasks, "length": length, "data/chunk_index": chunk,
             "data/file_index": file, "dataset_from_index": self.frames, "dataset_to_index": self.frames + length}
            | place
        )  # fmt: skip
        self._stats.append(stats)
        self.episodes, self.frames = number + 1, self.frames + length

    def _masked(self, shown: _Frames, length: int, pixels: ImageStats, opacity: ImageStats) -> Iterator[np.ndarray]:
        """The masked frames; what they show is counted."""
        with Video(shown.path) as video:
            for row in range(length):
                image_HWC = video.frame(shown.first + row)
                mask_HW = self._mask(shown, row)
                opacity.add(mask_HW.astype(np.uint8)[..., None] * 255)
                found = masking.apply(image_HWC, mask_HW.astype(np.float32), self.how)
                masked_HWC = found.image_HWC if found.found else masking.hidden(image_HWC, self.how)
                pixels.add(masked_HWC)
                yield masked_HWC

    def _mask(self, shown: _Frames, row: int) -> np.ndarray:
        mask = shown.masks.get(row)
        return np.full(shown.camera.size, self.fill.gaps == "show") if mask is None else rle.decode(mask)

    def _pngs(self, shown: _Frames, length: int) -> Iterator[bytes]:
        for row in range(length):
            stream = io.BytesIO()
            Image.fromarray(self._mask(shown, row).astype(np.uint8) * 255).save(stream, "PNG")
            yield stream.getvalue()

    def _open(self, camera: MaskedCamera) -> EpisodeVideos:
        assert camera.encoding is not None
        template = VIDEO_PATH.replace("{video_key}", camera.video_key)
        return EpisodeVideos(self.folder, template, camera.encoding, VIDEO_MB << 20, PER_CHUNK)

    @property
    def _fps(self) -> float:
        return float(self.source.info["fps"])

    @cached_property
    def _untouched(self) -> list[str]:
        """Features in videos that are copied."""
        replaced = {camera.key for camera in self.cameras if camera.replace}
        features = self.source.info["features"].items()
        return [key for key, feature in features if feature.get("dtype") == "video" and key not in replaced]

    def _kept_stats(self, episode: dict[str, Any]) -> dict[str, Stats]:
        """The source's statistics of an episode.

        Raises:
            ValueError: they cannot be read, or cannot be united with those of earlier episodes.
        """
        found = self.source.statistics(episode)
        for name, stats in found.items():
            shape = np.shape(stats["mean"])
            if self._shapes.setdefault(name, shape) != shape:
                raise ValueError(
                    f"its statistics of {name!r} have the shape {shape}, those before {self._shapes[name]}"
                )
        return found


def _by(shown: _Frames, row: int) -> int:
    """Where the mask of a frame comes from."""
    if row in shown.labeled:
        return LABELED
    return TRACKED if row in shown.masks else NO_MASK


def _video_place(key: str, made: tuple[int, int, float], length: int, fps: float) -> dict[str, Any]:
    """Where an episode lies in the videos of a feature."""
    chunk, file, begin = made
    place = {"chunk_index": chunk, "file_index": file, "from_timestamp": begin, "to_timestamp": begin + length / fps}
    return {f"videos/{key}/{name}": value for name, value in place.items()}


def _with(rows: pa.Table, name: str, values: Iterable[int]) -> pa.Table:
    """The rows with other values in a column."""
    at = rows.column_names.index(name)
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
