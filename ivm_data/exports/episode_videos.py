"""Videos of one camera that hold many episodes each, encoded as another video is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np

from storage.pixels.video import Video

_ENCODERS = {
    "av1": ("libsvtav1", {"crf": "30"}),
    "h264": ("libx264", {"crf": "18", "sc_threshold": "0"}),
    "hevc": ("libx265", {"crf": "20", "x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", {"crf": "30", "b:v": "0"}),
}
"""Codec -> (FFmpeg's encoder, its options). 30 is LeRobot's own for AV1; no file tells with which it was made."""
_OTHER = "h264"
"""For videos whose codec nobody encodes here."""


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded.

    Attributes:
        codec: a key of `_ENCODERS`.
        pixel_format: as FFmpeg calls it.
        key_interval: frames from one that is decoded without others to the next one.
        rate: frames a second.
    """

    codec: str
    pixel_format: str
    key_interval: int
    rate: Fraction

    @classmethod
    def of(cls, video: Video, rate: Fraction) -> Self:
        """A video's own, or the nearest that can be written."""
        codec = video.codec if video.codec in _ENCODERS else _OTHER
        allowed = {form.name for form in av.Codec(_ENCODERS[codec][0], "w").video_formats or ()}
        form = video.pixel_format if video.pixel_format in allowed else "yuv420p"
        return cls(codec, form, video.key_interval, rate)

    def facts(self, height: int, width: int) -> dict[str, Any]:
        """What LeRobot's info.json says of a video."""
        rate = int(self.rate) if self.rate.denominator == 1 else float(self.rate)
        return {
            "video.height": height, "video.width": width, "video.codec": self.codec, "has_audio": False,
            "video.pix_fmt": self.pixel_format, "video.is_depth_map": False, "video.fps": rate, "video.channels": 3,
        }  # fmt: skip


class EpisodeVideos:
    """Writes episode after episode; a file that is large enough is closed before the next episode.

    Args:
        folder: of the data set.
        template: path of a file in it, with chunk_index and file_index in braces.
        most_bytes: of a file, before another is begun.
        per_chunk: files in a folder.
    """

    def __init__(self, folder: Path, template: str, encoding: Encoding, most_bytes: int, per_chunk: int) -> None:
        self._folder, self._template, self._encoding = folder, template, encoding
        self._most_bytes, self._per_chunk = most_bytes, per_chunk
        self._opened: tuple[av.container.OutputContainer, av.VideoStream] | None = None
        self._number, self._frames, self._bytes = -1, 0, 0

    def add(self, images: Iterable[np.ndarray]) -> tuple[int, int, float]:
        """Write an episode, uint8 HWC frames of one size.

        Returns:
            (chunk_index, file_index, seconds at which the episode begins in that file).
        """
        if self._bytes >= self._most_bytes:
            self.close()
        begin = None
        for image_HWC in images:
            container, stream = self._opened or self._open(*image_HWC.shape[:2])
            begin = self._frames if begin is None else begin
            frame = av.VideoFrame.from_ndarray(image_HWC, format="rgb24")
            frame.pts, frame.time_base = self._frames, 1 / self._encoding.rate
            self._mux(container, stream.encode(frame))
            self._frames += 1
        return *divmod(self._number, self._per_chunk), float((begin or 0) / self._encoding.rate)

    def close(self) -> None:
        """End the file that is open."""
        if self._opened is not None:
            container, stream = self._opened
            self._mux(container, stream.encode())
            container.close()
        self._opened, self._frames, self._bytes = None, 0, 0

    def _open(self, height: int, width: int) -> tuple[av.container.OutputContainer, av.VideoStream]:
        self._number += 1
        chunk, file = divmod(self._number, self._per_chunk)
        path = self._folder / self._template.format(chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(path), "w")
        encoder, options = _ENCODERS[self._encoding.codec]
        options = options | {"g": str(self._encoding.key_interval)}
        stream = cast("av.VideoStream", container.add_stream(encoder, rate=self._encoding.rate, options=options))
        odd = height % 2 or width % 2
        form = self._encoding.pixel_format
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv444p" if odd and form == "yuv420p" and self._encoding.codec != "av1" else form
        stream.codec_context.time_base = 1 / self._encoding.rate
        self._opened = container, stream
        return container, stream

    def _mux(self, container: av.container.OutputContainer, packets: Sequence[av.Packet[Any]]) -> None:
        self._bytes += sum(packet.size for packet in packets)
        container.mux(packets)
