"""Files of a LeRobot v3.0 data set, written episode after episode: rows, copied videos, and `meta`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ivm_data.exports.lerobot_stats import united

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200
"""Sizes at which LeRobot begins another file."""
_README = """---
tags:
- LeRobot
configs:
- config_name: default
  data_files: data/*/*.parquet
---
"""


class EpisodeRows:
    """Writes the rows of episodes, many a Parquet file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._number, self._bytes = -1, 0

    def add(self, rows: pa.Table) -> tuple[int, int]:
        """Write an episode; returns (chunk_index, file_index)."""
        if self._bytes >= DATA_MB << 20:
            self.close()
        if self._writer is None:
            self._number += 1
            path = self._folder / DATA_PATH.format(**_place(self._number))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, rows.schema)
        self._writer.write_table(rows.cast(self._writer.schema))
        self._bytes += rows.nbytes
        return divmod(self._number, PER_CHUNK)

    def close(self) -> None:
        """End the file that is open."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._bytes = None, 0


class CopiedVideos:
    """Videos that stay as they are: each file once, under a name of v3.0."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._numbers: dict[str, dict[str, int]] = {}

    def add(self, camera: str, path: str) -> tuple[int, int]:
        """Copy a file, relative to the source, where it is not there yet; returns (chunk_index, file_index)."""
        numbers = self._numbers.setdefault(camera, {})
        if path not in numbers:
            numbers[path] = len(numbers)
            target = self._folder / VIDEO_PATH.format(video_key=camera, **_place(numbers[path]))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._source / path, target)
        return divmod(numbers[path], PER_CHUNK)


def _place(number: int) -> dict[str, int]:
    chunk, file = divmod(number, PER_CHUNK)
    return {"chunk_index": chunk, "file_index": file}


def write_meta(
    folder: Path,
    info: Mapping[str, Any],
    tasks: Mapping[int, str],
    episodes: list[dict[str, Any]],
    statistics: list[dict[str, dict[str, Any]]],
) -> None:
    """Write `meta`.

    Args:
        info: facts of the source, with the features of this set.
        episodes: a dict an episode, without statistics.
        statistics: feature -> statistics, an episode each.
    """
    (folder / "meta").mkdir(exist_ok=True)
    facts = dict(info) | {
        "codebase_version": VERSION, "data_path": DATA_PATH, "video_path": VIDEO_PATH, "chunks_size": PER_CHUNK,
        "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB, "total_episodes": len(episodes),
        "total_frames": sum(episode["length"] for episode in episodes), "total_tasks": len(tasks),
        "splits": {"train": f"0:{len(episodes)}"},
    }  # fmt: skip
    for gone in ("total_videos", "total_chunks"):
        facts.pop(gone, None)
    _write_json(folder / "meta" / "info.json", facts)
    features = [name for name in info["features"] if any(name in episode for episode in statistics)]
    whole = {name: united([episode[name] for episode in statistics if name in episode]) for name in features}
    _write_json(folder / "meta" / "stats.json", whole)
    _write_tasks(folder / "meta" / "tasks.parquet", tasks)
    rows = [
        episode
        | {f"stats/{name}/{key}": value for name, stats in found.items() for key, value in stats.items()}
        | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for episode, found in zip(episodes, statistics, strict=True)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    (folder / EPISODES).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pydict({name: [row.get(name) for row in rows] for name in names}), folder / EPISODES)


def write_card(folder: Path, text: str) -> None:
    """Write a README.md that says what the set holds."""
    (folder / "README.md").write_text(f"{_README}{text}\n", encoding="utf-8")


def _write_tasks(path: Path, tasks: Mapping[int, str]) -> None:
    """Write the tasks, which are the index of a table of pandas."""
    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(list(tasks), pa.int64()), index: pa.array(list(tasks.values()))})
    kinds = {"task_index": ("task_index", "int64"), index: (None, "unicode")}
    columns = [
        {"name": name, "field_name": column, "pandas_type": kind, "numpy_type": "object", "metadata": None}
        for column, (name, kind) in kinds.items()
    ]
    told = {"index_columns": [index], "column_indexes": [], "columns": columns, "creator": {"library": "pyarrow"}}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(told)}), path)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
