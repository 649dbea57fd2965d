"""The folder of a LeRobot data set, v2.0, v2.1 or v3.0: its facts, episodes, rows and videos under one name each.

Paths follow the templates of meta/info.json. In v2 an episode has files of its own; in v3 a file holds many episodes:
meta/episodes says where each begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, existing, reason
from storage.errors import ConfigError, InputError
from storage.pixels.video import Video

if TYPE_CHECKING:
    import pyarrow as pa

VERSIONS = ("v2.0", "v2.1", "v3.0")
OBSERVED = "observation.images."
MASK_OF = "ivm.mask_of"
"""In the `info` of a feature: it holds the masks of that camera."""
_POINTER = b"version https://git-lfs"


class LerobotFolder:
    """A data set that is there.

    Raises:
        ConfigError: no such folder, or a version that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = _json(folder / "meta" / "info.json")
        self.version = str(self.info.get("codebase_version", ""))
        if self.version not in VERSIONS:
            raise ConfigError(
                f"'{folder}/meta/info.json' says codebase_version {self.version!r}; {', '.join(VERSIONS)} can be read. "
                "lerobot converts older sets: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
            )
        self._timed: tuple[str, Sequence[float]] | None = None
        self._opened: tuple[tuple[str, Sequence[str] | None], pa.Table] | None = None

    def cameras(self, wanted: str = "") -> dict[str, str]:
        """Key of a camera -> "video" or "image"; features that hold masks are none.

        Args:
            wanted: one camera by its key or its short name; "" for all.

        Raises:
            ConfigError: there is no such camera.
        """
        known = {
            key: feature["dtype"]
            for key, feature in self.info.get("features", {}).items()
            if feature.get("dtype") in ("video", "image") and MASK_OF not in (feature.get("info") or {})
        }
        chosen = {key: kind for key, kind in known.items() if wanted in ("", key, key.removeprefix(OBSERVED))}
        if not chosen:
            raise ConfigError(f"no camera {wanted!r} in '{self.folder}'; its cameras are {', '.join(known) or 'none'}")
        return chosen

    def episodes(self, statistics: bool = False) -> Iterator[dict[str, Any] | BadRecord]:
        """One dict an episode, in the order of the files.

        Args:
            statistics: of v3, also `stats/...`; those of v2.1 lie in a file of their own.
        """
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
                kept = [name for name in table.column_names if statistics or not name.startswith("stats/")]
                for batch in table.select(kept).to_batches(max_chunksize=64):
                    yield from batch.to_pylist()

    def task(self, index: Any) -> str:
        """The task of a frame.

        Raises:
            ValueError: an unknown task, or an empty one.
        """
        text = self.tasks.get(index)
        if text is None:
            raise ValueError(f"task_index {index!r} is not in meta/tasks; those are {sorted(self.tasks)[:20]}")
        if not text.strip():
            raise ValueError(f"task {index} is empty: there is no instruction")
        return text.strip()

    @cached_property
    def tasks(self) -> dict[int, str]:
        """Task by its index."""
        meta = self.folder / "meta"
        if self.version != "v3.0":
            rows = [row for row in map(_row, _lines(meta / "tasks.jsonl")) if {"task_index", "task"} <= row.keys()]
            return {row["task_index"]: _text(row["task"]) for row in rows if isinstance(row["task_index"], int)}
        table = _table(existing(str(meta / "tasks.parquet"), "folder"))
        name = next((name for name in ("task", "__index_level_0__") if name in table.column_names), "")
        if not name:
            raise ConfigError(f"'{meta}/tasks.parquet' has no column 'task'; it has {', '.join(table.column_names)}")
        return dict(zip(table["task_index"].to_pylist(), map(_text, table[name].to_pylist()), strict=True))

    def statistics(self, episode: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Feature -> its statistics in an episode; v2.0 has none, and an episode may lack them.

        Args:
            episode: as `episodes(statistics=True)` gives it.

        Raises:
            ValueError: they cannot be read, or are not of the form of statistics.
        """
        number = episode["episode_index"]
        found, torn = self._statistics
        if number not in found and torn:
            raise ValueError(f"no statistics of it can be read, and {torn} of meta/episodes_stats.jsonl is torn")
        stats = {name: dict(value) for name, value in found.get(number, {}).items()}
        for name, value in episode.items():
            if name.startswith("stats/") and value is not None:
                feature, _, key = name.removeprefix("stats/").rpartition("/")
                stats.setdefault(feature, {})[key] = value
        for feature, values in stats.items():
            if why := _odd(values):
                raise ValueError(f"its statistics of {feature!r} {why}")
        return stats

    @cached_property
    def _statistics(self) -> tuple[dict[int, dict[str, dict[str, Any]]], str]:
        """Statistics of v2.1 by episode, and which line is the first that cannot be read, or ""."""
        path = self.folder / "meta" / "episodes_stats.jsonl"
        if self.version != "v2.1" or not path.is_file():
            return {}, ""
        found, torn = {}, ""
        for number, line in enumerate(_lines(path), start=1):
            row = _row(line)
            stats = row.get("stats")
            if isinstance(stats, dict) and all(isinstance(value, dict) for value in stats.values()):
                found[row.get("episode_index", -1)] = stats
            else:
                torn = torn or f"line {number}"
        return found, torn

    def data_file(self, episode: dict[str, Any]) -> str:
        """The Parquet file of an episode's frames, relative to the folder."""
        return self._path("data_path", "", episode, "data")

    def frames(self, episode: dict[str, Any], columns: Sequence[str] | None = None) -> pa.Table:
        """An episode's rows in order.

        Args:
            columns: beside `episode_index` and `frame_index`; None for all.

        Raises:
            ValueError: the file is missing or torn, its frames are not numbered from 0, or some are missing.
        """
        import pyarrow.compute as pc

        path = self.data_file(episode)
        if self._opened is None or self._opened[0] != (path, columns):
            wanted = None if columns is None else ["episode_index", "frame_index", *columns]
            self._opened = (path, columns), _table(self.folder / path, wanted)
        rows = self._opened[1].filter(pc.field("episode_index") == episode["episode_index"]).sort_by("frame_index")
        numbers = rows["frame_index"].to_pylist()
        if numbers != list(range(len(numbers))):
            raise ValueError(f"its frames in '{path}' are not numbered 0 to {len(numbers) - 1}: {numbers[:8]} ...")
        if len(rows) != episode.get("length", len(rows)) or not len(rows):
            raise ValueError(f"{len(rows)} of its {episode.get('length')} frames lie in '{path}'")
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

    def check_times(self, path: str, first: int, length: int) -> None:
        """Make sure that the frames of a video lie where their numbers say.

        A video that cannot be read passes: each of its frames is refused when it is read.

        Args:
            path, first: as `video` gives them.

        Raises:
            ValueError: a frame lies half a frame or more from its time: frames are missing, or come at no fixed rate.
        """
        fps = float(self.info["fps"])
        for row, found in enumerate(self._times(path)[first : first + length]):
            wanted = (first + row) / fps
            if abs(found - wanted) >= 0.5 / fps:
                raise ValueError(
                    f"frame {row} lies at {found:.3f} s in its video '{path}' and should at {wanted:.3f} s: "
                    f"frames are missing there or come at no fixed rate of {fps:g}; encode it anew at that rate"
                )

    def _times(self, path: str) -> Sequence[float]:
        """Seconds of the frames of a video, from its first one; the last video's are kept."""
        if self._timed is None or self._timed[0] != path:
            try:
                with Video(self.folder / path) as video:
                    self._timed = path, video.times
            except InputError:
                self._timed = path, ()
        return self._timed[1]

    def seconds(self, row: int) -> float | None:
        """Time of an episode's frame from its start; None where the set names no frame rate."""
        fps = self.info.get("fps")
        return row / fps if isinstance(fps, int | float) and fps > 0 else None

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


def _row(line: str) -> dict[str, Any]:
    """The object of a JSON line; empty where it is none, so that only what it names is missing."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _text(value: object) -> str:
    """A task; "" where there is none, which is refused where it is asked for."""
    return value if isinstance(value, str) else ""


def _odd(values: dict[str, Any]) -> str:
    """What is wrong with a feature's statistics, in words; "" where nothing is."""
    names = ("min", "max", "mean", "std", "count")
    if missing := [name for name in names if name not in values]:
        return f"lack {missing[0]!r}"
    try:
        arrays = {name: np.array(values[name], float) for name in names}
    except (TypeError, ValueError):
        return "are no numbers"
    shapes = {arrays[name].shape for name in names[:-1]}
    if len(shapes) > 1:
        return f"have several shapes: {sorted(shapes)}"
    return "" if arrays["count"].shape == (1,) and arrays["count"][0] > 0 else f"count {values['count']!r:.40} frames"


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
