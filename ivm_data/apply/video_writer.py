"""A video file of masked frames, H.264 in MP4, MOV or Matroska, at the times of the frames that they were made of."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from ivm_data.outputs import MASK
from storage.disk.publish import whole_file
from storage.errors import ConfigError

TICKS = 90_000
"""A second, in the unit of the written times."""
QUALITY = "18"
"""x264's constant rate factor: hardly told from the original."""


class VideoWriter:
    """Writes frames of one size; the file appears when all are written. A context manager.

    Args:
        rate: frames a second, for the header.

    Attributes:
        count: frames that were written.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self._whole = whole_file(path)
        self._stream: av.VideoStream | None = None
        self.count = 0

    def __enter__(self) -> Self:
        hidden = self._whole.__enter__()
        form = {".mkv": "matroska", ".mov": "mov"}.get(self.path.suffix.lower(), "mp4")
        self._container = av.open(str(hidden), "w", format=form)
        self._container.metadata["comment"] = MASK
        return self

    def add(self, image_HWC: np.ndarray, seconds: float) -> None:
        """Write a frame; an odd side is one pixel longer, as H.264 halves the colours' resolution.

        Args:
            image_HWC: uint8 RGB.
            seconds: from the first frame.

        Raises:
            ConfigError: a frame of another size than the first one.
        """
        height, width = image_HWC.shape[:2]
        even_HWC = np.pad(image_HWC, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._open_stream(*even_HWC.shape[:2])
        if (self._stream.height, self._stream.width) != even_HWC.shape[:2]:
            raise ConfigError(
                f"'{self.path}' cannot hold frames of {width}x{height} beside {self._stream.width}x"
                f"{self._stream.height}; a crop differs from frame to frame: give a folder, or another --how"
            )
        frame = av.VideoFrame.from_ndarray(even_HWC, format="rgb24")
        frame.pts, frame.time_base = round(seconds * TICKS), Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._stream is not None and kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()
        self._whole.__exit__(kind, error, at)

    def _open_stream(self, height: int, width: int) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self.rate, options={"crf": QUALITY})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        return stream
