"""LeRobot data sets v2.0, v2.1 and v3.0 (Hugging Face): frames stay in their videos and are decoded when they are read.

Paths follow the templates of meta/info.json. In v2 an episode has files of its own; in v3 a file holds many episodes:
meta/episodes says where each begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, Record, checked, existing, reason
from ivm_data.sources.foreign.common.image_references import image_path
from storage.common.validation import Checked, Count
from storage.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

VERSIONS = ("v2.0", "v2.1", "v3.0")
OBSERVED = "observation.images."
_POINTER = b"version https://git-lfs"


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
    data = _DataSet(existing(config.folder, "folder", folder=True))
    cameras = _cameras(data, config.camera)
    for episode in data.episodes():
        if isinstance(episode, BadRecord):
            yield episode
        else:
            yield from checked(f"episode {episode.get('episode_index')}", _pairs, data, episode, cameras, config)


def _pairs(
    data: _DataSet, episode: dict[str, Any], cameras: dict[str, str], config: LerobotConfig
) -> Iterator[ForeignPair]:
    """Every k-th frame of an episode, camera after camera."""
    stored = [camera for camera, kind in cameras.items() if kind == "image"]
    rows = data.frames(episode, stored)
    if len(rows) != episode.get("length", len(rows)) or not len(rows):
        raise ValueError(f"{len(rows)} of its {episode.get('length')} frames lie in '{data.data_file(episode)}'")
    tasks = rows["task_index"].to_pylist()
    for camera, kind in cameras.items():
        source = f"lerobot/{camera.removeprefix(OBSERVED)}"
        place = data.video(episode, camera) if kind == "video" else None
        for row in range(0, len(rows), config.every):
            instruction = data.task(tasks[row])
            if place is None:
                image: str | bytes = rows[camera][row].as_py()["bytes"]
                if not image:
                    raise ValueError(f"frame {row} of {camera} has no bytes")
            else:
                path, first = place
                image = f"video://{first + row}::{image_path(config.images, path)}"
            yield ForeignPair(image, instruction, kind="robot", source=source)


class _DataSet:
    """The facts of a folder; those of v2 and v3 under one name each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = _json(folder / "meta" / "info.json")
        self.version = str(self.info.get("codebase_version", ""))
        if self.version not in VERSIONS:
            raise ConfigError(
                f"'{folder}/meta/info.json' says codebase_version {self.version!r}; {', '.join(VERSIONS)} can be read. "
                "lerobot converts older sets: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
            )
        self._opened: tuple[str, pa.Table] | None = None

    def episodes(self) -> Iterator[dict[str, Any] | BadRecord]:
        """One dict an episode, in the order of the files."""
        meta = self.folder / "meta"
        if self.version != "v3.0":
            for number, line in enumerate(_lines(meta / "episodes.jsonl"), start=1):
                try:
                    yield dict(json.loads(line))
                except (ValueError, TypeError, RecursionError) as error:
                    yield BadRecord(f"meta/episodes.jsonl:{number}", reason(error))
            return
        files = sorted((meta / "episodes").rglob("*.parquet"))
        if not files:
            raise ConfigError(f"'{meta}/episodes' holds no Parquet file; a v3.0 set names its episodes there")
        for path in files:
            try:
                table = _table(path)
            except ValueError as error:
                yield BadRecord(path.relative_to(self.folder).as_posix(), str(error))
            else:
                kept = [name for name in table.column_names if not name.startswith("stats/")]
                yield from table.select(kept).to_pylist()

    def task(self, index: Any) -> str:
        """The task of a frame.

        Raises:
            ValueError: an unknown task, or an empty one.
        """
        text = self._tasks.get(index)
        if text is None:
            raise ValueError(f"task_index {index!r} is not in meta/tasks; those are {sorted(self._tasks)[:20]}")
        if not text.strip():
            raise ValueError(f"task {index} is empty: there is no instruction")
        return text.strip()

    @cached_property
    def _tasks(self) -> dict[int, str]:
        meta = self.folder / "meta"
        if self.version != "v3.0":
            rows = [json.loads(line) for line in _lines(meta / "tasks.jsonl")]
            return {row["task_index"]: str(row["task"]) for row in rows}
        table = _table(existing(str(meta / "tasks.parquet"), "folder"))
        name = next((name for name in ("task", "__index_level_0__") if name in table.column_names), "")
        if not name:
            raise ConfigError(f"'{meta}/tasks.parquet' has no column 'task'; it has {', '.join(table.column_names)}")
        return dict(zip(table["task_index"].to_pylist(), map(str, table[name].to_pylist()), strict=True))

    def data_file(self, episode: dict[str, Any]) -> str:
        """The Parquet file of an episode's frames, relative to the folder."""
        return self._path("data_path", "", episode, "data")

    def frames(self, episode: dict[str, Any], images: list[str]) -> pa.Table:
        """An episode's rows in order: `frame_index`, `task_index`, and images that lie in the rows."""
        import pyarrow.compute as pc

        path = self.data_file(episode)
        if self._opened is None or self._opened[0] != path:
            columns = ["episode_index", "frame_index", "task_index", *images]
            self._opened = path, _table(self.folder / path, columns)
        rows = self._opened[1].filter(pc.field("episode_index") == episode["episode_index"]).sort_by("frame_index")
        numbers = rows["frame_index"].to_pylist()
        if numbers != list(range(len(numbers))):
            raise ValueError(f"its frames in '{path}' are not numbered 0 to {len(numbers) - 1}: {numbers[:8]} ...")
        return rows

    def video(self, episode: dict[str, Any], camera: str) -> tuple[str, int]:
        """(path of the file relative to the folder, number of the episode's first frame in it)."""
        path = self._path("video_path", camera, episode, f"videos/{camera}")
        file = self.folder / path
        if not file.is_file():
            raise ValueError(f"its video '{path}' is missing")
        with file.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                raise ValueError(f"its video '{path}' is a Git LFS pointer; fetch it: git lfs pull")
        begin = episode.get(f"videos/{camera}/from_timestamp") or 0.0
        return path, round(begin * self.info["fps"])

    def _path(self, template: str, camera: str, episode: dict[str, Any], prefix: str) -> str:
        number = episode["episode_index"]
        values = {
            "episode_index": number,
            "episode_chunk": number // max(1, self.info.get("chunks_size", 1000)),
            "video_key": camera,
            "chunk_index": episode.get(f"{prefix}/chunk_index", 0),
            "file_index": episode.get(f"{prefix}/file_index", 0),
        }
        path: str = self.info[template].format(**values)
        return path


def _cameras(data: _DataSet, wanted: str) -> dict[str, str]:
    """Key of a camera -> "video" or "image"."""
    known = {
        key: feature["dtype"]
        for key, feature in data.info.get("features", {}).items()
        if feature.get("dtype") in ("video", "image")
    }
    chosen = {key: kind for key, kind in known.items() if wanted in ("", key, key.removeprefix(OBSERVED))}
    if not chosen:
        raise ConfigError(f"no camera {wanted!r} in '{data.folder}'; its cameras are {', '.join(known) or 'none'}")
    return chosen


def _lines(path: Path) -> list[str]:
    """The lines of a file that hold something."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{path}' cannot be read ({error}); give the folder of a LeRobot data set") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' cannot be read ({error}); give the folder of a LeRobot data set") from error
    if not isinstance(found, dict):
        raise ConfigError(f"'{path}' holds no JSON object; give the folder of a LeRobot data set")
    return found


def _table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file.

    Raises:
        ValueError: it is missing, a Git LFS pointer, or torn.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise ValueError(f"'{path.name}' is a Git LFS pointer; fetch it: git lfs pull")
        return pq.read_table(path, columns=columns)
    except OSError as error:
        raise ValueError(f"'{path.parent.name}/{path.name}' cannot be read: {str(error)[:200]}") from error
    except pa.ArrowException as error:
        raise ValueError(f"'{path.parent.name}/{path.name}' is torn or lacks a column: {str(error)[:200]}") from error
