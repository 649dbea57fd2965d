"""Masks of videos' frames, kept in a file while they come in any order, and given back by video and frame."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.pixels import rle
from storage.records import Rle

_FRAME = re.compile(r"video://(\d+)::(.+)", re.DOTALL)


def frame_of(reference: str) -> tuple[str, int] | None:
    """(path of the video, number of the frame) of a reference such as `video://17::a.mp4`; None for another image."""
    found = _FRAME.fullmatch(reference)
    return (found[2], int(found[1])) if found else None


def recording(episode: str, camera: str) -> str:
    """What stands for a video where a frame is named by its episode and camera."""
    return f"{episode} by {camera}"


class FrameMasks:
    """A table of masks in a temporary file. A context manager, after which the file is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._database = sqlite3.connect(self.path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE masks (video TEXT, frame INT, height INT, width INT, counts BLOB, labels INT, absent INT, "
            "looked INT, PRIMARY KEY (video, frame))"
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()
        self.path.unlink()

    def add(self, video: str, frame: int, mask: Rle, tracked: bool = False) -> None:
        """Keep a mask, which was carried from other frames or not; a frame that has one keeps the pixels of both."""
        before = self.masks(video, frame, 1).get(0)
        absent = rle.area(mask) == 0
        if before is not None:
            mask = rle.union([before, mask])
        row = (video, frame, mask.height, mask.width, mask.counts, not absent, absent, not tracked)
        self._database.execute(
            "INSERT INTO masks VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counts = excluded.counts, "
            "labels = labels + excluded.labels, absent = absent + excluded.absent, looked = looked + excluded.looked",
            row,
        )

    def masks(self, video: str, first: int, count: int) -> dict[int, Rle]:
        """The masks of `count` frames from `first` on, by their number from it."""
        found = self._database.execute(
            "SELECT frame, height, width, counts FROM masks "
            "WHERE video = ? AND frame >= ? AND frame < ? ORDER BY frame",
            (video, first, first + count),
        )
        with closing(found) as rows:
            return {frame - first: Rle(height, width, counts) for frame, height, width, counts in rows}

    def tracked(self, video: str, first: int, count: int) -> set[int]:
        """Those of `count` frames from `first` on whose masks were all carried, by their number from it."""
        found = self._database.execute(
            "SELECT frame FROM masks WHERE video = ? AND frame >= ? AND frame < ? AND NOT looked",
            (video, first, first + count),
        )
        with closing(found) as rows:
            return {frame - first for (frame,) in rows}

    def counted(self, video: str, first: int, count: int) -> tuple[int, int]:
        """(labels with a mask, labels with an empty one) of `count` frames from `first` on."""
        found = self._database.execute(
            "SELECT coalesce(sum(labels), 0), coalesce(sum(absent), 0) FROM masks "
            "WHERE video = ? AND frame >= ? AND frame < ?",
            (video, first, first + count),
        ).fetchone()
        return int(found[0]), int(found[1])

    def videos(self) -> dict[str, int]:
        """Path of each video and how many of its frames have a mask."""
        return dict(self._database.execute("SELECT video, count(*) FROM masks GROUP BY video ORDER BY video"))
