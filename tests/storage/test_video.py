"""Frames of videos by number: any codec, any frame rate, turned, torn."""

from fractions import Fraction

import av
import numpy as np
import pytest

from storage.errors import InputError
from storage.pixels.images import ImageLimits
from storage.pixels.video import Video

IDENTITY = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
QUARTER = b"".join(n.to_bytes(4, "big") for n in (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000))
"""Matrices of an MP4's track header: upright, and to be turned by a quarter clockwise."""


def write(path, greys, codec="libx264", seconds=None, container_options=None):
    """A 64x32 video; frame i is grey `greys[i]`, with a white left edge."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 4
        for number, grey in enumerate(greys):
            image_HWC = np.full((32, 64, 3), grey, np.uint8)
            image_HWC[:, :8] = 255
            frame = av.VideoFrame.from_ndarray(image_HWC, format="rgb24")
            frame.pts = round(1000 * (seconds[number] if seconds else number / 10))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


GREYS = list(range(10, 210, 10))


def grey(image_HWC):
    return float(image_HWC[:, 16:].mean())


@pytest.mark.parametrize(("codec", "name"), [("libx264", "v.mp4"), ("libsvtav1", "v.mp4"), ("libvpx-vp9", "v.webm")])
def test_every_frame_is_found_by_its_number_in_any_order(tmp_path, codec, name):
    with Video(write(tmp_path / name, GREYS, codec)) as video:
        assert len(video) == len(GREYS)
        order = [*range(len(GREYS)), *np.random.default_rng(0).permutation(len(GREYS)).tolist(), 7, 7]
        found = [grey(video.frame(number)) for number in order]
    assert found == pytest.approx([GREYS[number] for number in order], abs=4)


def test_a_video_of_a_variable_rate_has_the_times_of_its_frames(tmp_path):
    seconds = [0.0, 0.1, 0.5, 0.55, 2.0]
    with Video(write(tmp_path / "v.mkv", GREYS[:5], seconds=seconds)) as video:
        times, images = zip(*video.frames(), strict=True)
    assert times == pytest.approx(seconds, abs=2e-3)
    assert [grey(image) for image in images] == pytest.approx(GREYS[:5], abs=4)


def test_a_turned_video_is_seen_upright(tmp_path):
    path = write(tmp_path / "v.mp4", GREYS[:3])
    data = path.read_bytes()
    header = data.index(b"tkhd")
    at = data.index(IDENTITY, header)
    path.write_bytes(data[:at] + QUARTER + data[at + len(QUARTER) :])
    with Video(path) as video:
        image_HWC = video.frame(1)
    assert image_HWC.shape == (64, 32, 3)
    assert image_HWC[:4].mean() > 240 > image_HWC[-4:].mean()  # what was left is above


def test_a_frame_that_is_not_there_is_named(tmp_path):
    with Video(write(tmp_path / "v.mp4", GREYS)) as video:
        for number in (-1, len(GREYS)):
            with pytest.raises(InputError, match=f"frames 0 to {len(GREYS) - 1}, none {number}"):
                video.frame(number)


@pytest.mark.parametrize("name", ["v.mkv", "v.avi", "v.mp4"])
def test_a_torn_video_gives_what_comes_before_the_tear_and_then_says_so(tmp_path, name):
    front = {"movflags": "faststart"} if name == "v.mp4" else {}
    path = write(tmp_path / name, GREYS * 5, container_options=front)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    seen = []
    with pytest.raises(InputError, match=r"'v.\w+' is torn"), Video(path) as video:
        for _, image_HWC in video.frames():
            seen.append(grey(image_HWC))
    assert seen == pytest.approx((GREYS * 5)[: len(seen)], abs=4)
    assert 0 < len(seen) < 5 * len(GREYS)


def test_what_is_no_video_is_refused_with_the_reason(tmp_path):
    pointer = tmp_path / "p.mp4"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    text, sound = tmp_path / "t.mp4", tmp_path / "s.wav"
    text.write_text("no video")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for path, why in (
        (pointer, "Git LFS pointer.*git lfs pull"),
        (text, "no video that FFmpeg can read"),
        (sound, "holds no video"),
        (tmp_path / "none.mp4", "cannot be read: No such file"),
    ):
        with pytest.raises(InputError, match=why):
            Video(path)
    with pytest.raises(InputError, match="64x32, at most 100 pixels"):
        Video(write(tmp_path / "v.mp4", GREYS[:2]), ImageLimits(max_pixels=100))
