"""`ivm mask` over files, folders and videos, with an untrained masking model."""

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from ivm_data import cli
from ivm_data.apply.frames import count, frames
from ivm_data.apply.masking import mask_frames
from ivm_data.apply.video_writer import VideoWriter
from ivm_data.outputs import check
from ivm_model.predictor import Predictor
from storage.errors import ConfigError, InputError
from storage.pixels.video import Video


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("model") / "m"
    tiny.ivm(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_pretrained(folder)


def photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for seed, name in enumerate(("b.png", "a.jpg", "more/c.png", "a.png")):
        photo(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / "torn.jpg").write_bytes(b"torn")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 24))
    for grey in (0, 60, 120, 180, 240):
        writer.write(np.full((24, 32, 3), grey, np.uint8))
    writer.release()
    return path


def test_a_folder_is_masked_image_by_image_and_a_torn_one_is_named(predictor, photos, tmp_path):
    seen = []
    done = mask_frames(
        predictor, photos, "the ring", tmp_path / "out", how="gray", threshold=0.4, progress=lambda: seen.append(1)
    )
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in done.written)
    assert names == ["a_jpg.png", "a_png.png", "b.png", "more/c.png"]
    assert list(done.bad) == ["torn"] and "image_unreadable" in done.bad["torn"]
    assert len(seen) == count(photos) == 5
    alone = predictor.mask(np.array(Image.open(photos / "b.png")), "the ring", "gray", 0.4)
    assert np.abs(np.array(Image.open(tmp_path / "out" / "b.png")).astype(int) - alone.image_HWC).max() <= 2


def test_a_video_gives_its_frames_in_order(predictor, video, tmp_path):
    done = mask_frames(predictor, video, "the ring", tmp_path / "out", how="crop", threshold=0.99)
    assert [path.name for path in done.written] == [f"v-{number:06d}.png" for number in range(1, 6)]
    greys = [int(np.array(Image.open(path)).mean()) for path in done.written]
    assert greys == sorted(greys) and greys[-1] > 200 and len(done.not_found) == 5
    check("masks", tmp_path / "out")
    assert count(video) == 5


def test_a_video_that_breaks_off_says_where(video):
    data = video.read_bytes()
    third = data.index(b"00dc", data.index(b"00dc", data.index(b"00dc") + 4) + 4)
    video.write_bytes(data[:third])
    *whole, torn = frames(video)
    assert isinstance(torn.image, InputError) and len(whole) < 3
    assert f"frame {len(whole) + 1} of" in torn.image.detail


@pytest.mark.parametrize("how", ["gray", "overlay"])
def test_a_video_becomes_a_video_of_the_same_length(predictor, video, tmp_path, how):
    out = tmp_path / "masked.mp4"
    done = mask_frames(predictor, video, "the ring", out, how=how, threshold=0.99)
    assert done.written == [out] and len(done.not_found) == 5
    with Video(out) as written:
        seconds, images = zip(*written.frames(), strict=True)
    assert seconds == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=1e-3)
    greys = [int(image_HWC.mean()) for image_HWC in images]
    assert greys == sorted(greys) and greys[-1] > 200 and images[0].shape == (24, 32, 3)
    check("mask", out)
    again = mask_frames(predictor, video, "the ring", out, how=how, threshold=0.99)
    assert again.written == [out] and [path.name for path in tmp_path.iterdir() if "masked" in path.name] == [out.name]


def test_crops_of_several_sizes_are_no_video_and_leave_none(predictor, tmp_path):
    sizes = iter([(24, 32, 3), (24, 32, 3), (12, 32, 3)])
    why = r"cannot hold frames of 32x12 beside 32x24"
    with pytest.raises(ConfigError, match=why), VideoWriter(tmp_path / "out.mp4", Fraction(5)) as writer:
        for number, size in enumerate(sizes):
            writer.add(np.zeros(size, np.uint8), number / 5)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_an_odd_size_are_one_pixel_longer(tmp_path):
    with VideoWriter(tmp_path / "out.mkv", Fraction(5)) as writer:
        writer.add(np.full((23, 31, 3), 90, np.uint8), 0.0)
    with Video(tmp_path / "out.mkv") as written:
        image_HWC = written.frame(0)
    assert image_HWC.shape == (24, 32, 3) and abs(int(image_HWC[-1, -1].mean()) - 90) < 4


def test_a_file_that_is_no_video_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no video that FFmpeg can read"):
        list(frames(tmp_path / "x.mp4"))
    with pytest.raises(ConfigError, match="holds no image file"):
        list(frames(tmp_path / "empty"))


def test_results_never_replace_what_they_are_made_of(predictor, photos):
    with pytest.raises(ConfigError, match="another folder"):
        mask_frames(predictor, photos, "the ring", photos)


def test_one_image_is_one_file_and_a_torn_one_ends_the_run(predictor, photos, tmp_path):
    mask_frames(predictor, photos / "b.png", "the ring", tmp_path / "one.jpg")
    assert Image.open(tmp_path / "one.jpg").size == (32, 24)
    for suffix in ("jpg", "png", "webp", "tif"):
        (written,) = mask_frames(predictor, photos / "b.png", "the ring", tmp_path / f"one.{suffix}").written
        check("mask", written)
    with pytest.raises(InputError, match="image_unreadable"):
        mask_frames(predictor, photos / "torn.jpg", "the ring", tmp_path / "two.png")
    with pytest.raises(ConfigError, match="no name of an image file"):
        mask_frames(predictor, photos / "b.png", "the ring", tmp_path)
    with pytest.raises(ConfigError, match=r"\.png or \.jpg"):
        mask_frames(predictor, photos / "b.png", "the ring", tmp_path / "one.docx")


def test_the_command_skips_torn_images_with_exit_status_3(folder, photos, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(
        sys, "argv", ["ivm", "mask", str(photos), "the ring", "-o", str(tmp_path / "out"), "--model", str(folder)]
    )
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 3 and "torn: image_unreadable" in capfd.readouterr().err
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_words_that_an_embedded_model_does_not_know_are_named_and_those_of_its_world_are_not(
    folder, tmp_path, photos, monkeypatch, capfd
):
    for instruction, words in (("Find the zebra near a sofa.", ("'zebra'", "'sofa'")), ("Find the red ring.", ())):
        out = str(tmp_path / "masked.png")
        arguments = ["mask", str(photos / "b.png"), instruction, "-o", out, "--model", str(folder)]
        monkeypatch.setattr(sys, "argv", ["ivm", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        err = capfd.readouterr().err
        assert not exit_.value.code and all(word in err for word in words)
        assert ("no photographs" in err and "'Find'" not in err) == bool(words)


def test_huge_images_are_masked_a_few_at_a_time(predictor, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("storage.pixels.images.BATCH_PIXELS", 24 * 32 * 3)
    together = []
    masks = predictor.masks
    monkeypatch.setattr(predictor, "masks", lambda images, *rest: together.append(len(images)) or masks(images, *rest))
    done = mask_frames(predictor, photos, "the ring", tmp_path / "out")
    assert together == [3, 1] and len(done.written) == 4 and list(done.bad) == ["torn"]
