"""Frames of a video file by their number, decoded on demand by PyAV: AV1, H.264, HEVC, VP9 and what else FFmpeg reads.

A frame's number is its place in the order of presentation, from 0; its time comes from its packet, so that videos of a
variable frame rate are read as well. A turned video is seen upright.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from storage.errors import InputError
from storage.pixels.images import DEFAULT_LIMITS, ImageLimits

LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class _Packets:
    """Times of all frames, and of those that are decoded without others, rising, in the stream's own unit."""

    times: list[int]
    keys: list[int]


class Video:
    """An opened video file; a context manager. Frames that are asked for in order are decoded once.

    Args:
        limits: of a frame; checked before anything is decoded.

    Raises:
        InputError: `image_unreadable` for a file that FFmpeg cannot read, of no video, or a Git LFS pointer;
            `image_missing`; `image_too_large`.
    """

    def __init__(self, path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                if file.read(len(LFS_POINTER)) == LFS_POINTER:
                    raise InputError(
                        "image_unreadable", f"'{path.name}' is a Git LFS pointer, not a video; fetch it: git lfs pull"
                    )
            self._container = av.open(str(path))
        except av.FFmpegError as error:
            raise InputError(
                "image_unreadable", f"'{path.name}' is no video that FFmpeg can read ({error.strerror})"
            ) from error
        except OSError as error:
            raise InputError("image_missing", f"'{path.name}' cannot be read: {error.strerror}") from error
        if not self._container.streams.video:
            self.close()
            raise InputError("image_unreadable", f"'{path.name}' holds no video")
        self._stream = self._container.streams.video[0]
        if self._stream.codec_context is None:
            self.close()
            raise InputError("image_unreadable", f"'{path.name}' is in a codec that this build of FFmpeg does not know")
        self._stream.thread_type = "AUTO"
        if self._stream.width * self._stream.height > limits.max_pixels:
            self.close()
            size = f"{self._stream.width}x{self._stream.height}"
            raise InputError("image_too_large", f"'{path.name}' is {size}, at most {limits.max_pixels} pixels are read")
        self._packets = self._read_packets()
        self._decoded: Iterator[av.VideoFrame] | None = None
        self._last: tuple[int, av.VideoFrame | None] = (-1, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __len__(self) -> int:
        """How many frames the file has by its packets; a torn file may give fewer."""
        return len(self._packets.times)

    @property
    def times(self) -> list[float]:
        """Seconds of each frame from the first one."""
        times = self._packets.times
        return [float((time - times[0]) * self._unit) for time in times]

    @property
    def rate(self) -> Fraction:
        """Frames a second, their mean where they come at no fixed rate."""
        return self._stream.average_rate or self._stream.guessed_rate or Fraction(30)

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, whichever decoder reads it: av1, h264, hevc, vp9, ..."""
        return str(self._stream.codec_context.codec.canonical_name)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of how pixels are stored: yuv420p, ..."""
        return str(self._stream.codec_context.pix_fmt or "yuv420p")

    @property
    def key_interval(self) -> int:
        """Frames from one that is decoded without others to the next one, the median; 1 where each is."""
        keys = [bisect_right(self._packets.times, key) for key in self._packets.keys]
        return int(np.median(np.diff(keys))) if len(keys) > 1 else max(len(self), 1)

    def frame(self, number: int) -> np.ndarray:
        """A frame, HWC uint8 RGB, upright.

        Raises:
            InputError: `image_missing` where there is no such frame, `image_unreadable` where the file is torn.
        """
        if not 0 <= number < len(self):
            raise InputError("image_missing", f"'{self.path.name}' has frames 0 to {len(self) - 1}, none {number}")
        last, frame = self._last
        if frame is None or last != number:
            frame = self._find(number)
            self._last = number, frame
        return upright(frame)

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds from the first frame, HWC uint8 RGB) of all frames in order.

        Raises:
            InputError: `image_unreadable` after the last frame that can be read, where the file is torn.
        """
        for number, time in enumerate(self._packets.times):
            yield float((time - self._packets.times[0]) * self._unit), self.frame(number)
        if why := self._lack():
            raise InputError("image_unreadable", f"'{self.path.name}' is torn: {why}")

    def _lack(self) -> str:
        """What a file lacks beside what its header says; a lack of one frame, or of 5 %, is the header's estimate."""
        times, said = self._packets.times, self._stream.frames
        if not times or len(times) < 0.95 * said - 1:
            return f"frame {len(times) + 1} of {max(said, 1)} is not there"
        if said or self._container.duration is None or len(self._container.streams) > 1:
            return ""
        whole, reached = self._container.duration / av.time_base, float((times[-1] - times[0]) * self._unit)
        longest = float(int(np.diff(times, prepend=times[0]).max()) * self._unit)
        return f"it ends at {reached:.1f} of {whole:.1f} s" if reached < 0.95 * whole - longest - 0.1 else ""

    @property
    def _unit(self) -> Fraction:
        return self._stream.time_base or Fraction(1)

    def _read_packets(self) -> _Packets:
        """The times in a file's packets, without decoding."""
        times, keys = [], []
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and not packet.is_discard:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.FFmpegError as error:
            if not times:
                raise InputError("image_unreadable", f"'{self.path.name}' is torn: {error}") from error
        return _Packets(sorted(set(times)), sorted(set(keys)))

    def _find(self, number: int) -> av.VideoFrame:
        wanted, keys = self._packets.times[number], self._packets.keys
        last = self._packets.times[self._last[0]] if self._decoded is not None else None
        if last is None or wanted <= last or bisect_right(keys, wanted) > bisect_right(keys, last):
            self._seek(wanted)
        try:
            for frame in self._decoded or ():
                if frame.pts is not None and frame.pts >= wanted:
                    if frame.pts == wanted:
                        return frame
                    break
        except (av.FFmpegError, EOFError) as error:
            self._decoded = None
            raise InputError("image_unreadable", f"'{self.path.name}' is torn at frame {number}: {error}") from error
        self._decoded = None
        raise InputError("image_unreadable", f"'{self.path.name}' is torn: frame {number} cannot be decoded")

    def _seek(self, wanted: int) -> None:
        self._container.seek(wanted, stream=self._stream, backward=True)
        self._decoded = self._container.decode(self._stream)


def upright(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as HWC uint8 RGB, turned as its file says."""
    pixels_HWC = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels_HWC, turns)) if turns else pixels_HWC
