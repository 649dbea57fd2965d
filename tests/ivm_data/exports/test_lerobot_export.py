"""LeRobot sets of every version, labeled by known masks, exported and read again."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from lerobot_sets import FPS, KEY, LENGTHS, TASKS, frames, mask, picture
from PIL import Image

from ivm_data.sources.foreign.readers import read
from ivm_model import masking
from storage.errors import ConfigError
from storage.pixels.video import Video


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_every_version_becomes_v3_with_masked_videos_masks_and_the_rows_of_the_source(trip, version):
    out, counts = trip(version)
    assert (counts.labels, counts.no_target, counts.left_out, counts.images) == (10, 1, 0, 11)
    for e, length in enumerate(LENGTHS):
        original, table = frames(out, KEY, e)
        masked, _ = frames(out, f"{KEY}_masked", e)
        assert len(table) == length and table["index"].to_pylist() == list(
            range(sum(LENGTHS[:e]), sum(LENGTHS[: e + 1]))
        )
        assert table["action"].to_pylist() == [[float(f), 1.0] for f in range(length)]
        assert table["mask_by.high"].to_pylist() == [1] * length
        for f in range(length):
            absent = (e, f) == (2, 5)
            assert np.abs(original[f].astype(int) - picture(e, f)).mean() < 3
            png = Image.open(io.BytesIO(table["observation.masks.high"][f].as_py()["bytes"]))
            assert (np.array(png) == 255 * (mask(e, f) & (not absent))).all()
            shown = masking.apply(picture(e, f), mask(e, f).astype(np.float32)).image_HWC
            expected = np.full_like(shown, 255) if absent else shown
            assert np.abs(masked[f].astype(int) - expected).mean() < 4, (e, f)


@pytest.mark.parametrize("by", ["episode", "either"])
def test_a_frame_is_found_by_its_row_s_episode_too(trip, by):
    out, counts = trip("v3.0", by=by)
    assert (counts.labels, counts.no_target, counts.left_out, counts.images) == (10, 1, 0, 11)
    for e, length in enumerate(LENGTHS):
        _, table = frames(out, KEY, e)
        for f in range(length):
            png = Image.open(io.BytesIO(table["observation.masks.high"][f].as_py()["bytes"]))
            assert (np.array(png) == 255 * (mask(e, f) & ((e, f) != (2, 5)))).all()


def test_meta_is_that_of_v3(trip):
    out, _ = trip("v2.1")
    info = json.loads((out / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and (info["total_episodes"], info["total_frames"]) == (3, 11)
    assert info["robot_type"] == "toy" and info["splits"] == {"train": "0:3"} and "total_videos" not in info
    assert info["features"]["observation.masks.high"]["shape"] == [64, 96, 1]
    tasks = pd.read_parquet(out / "meta/tasks.parquet")
    assert list(tasks.index) == list(TASKS) and list(tasks["task_index"]) == [0, 1]
    episodes = pq.read_table(out / "meta/episodes").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in episodes] == [(0, 4), (4, 5), (5, 11)]
    assert [row["tasks"] for row in episodes] == [[TASKS[0]], [TASKS[1]], [TASKS[0]]]
    begins = [row[f"videos/{KEY}_masked/from_timestamp"] for row in episodes]
    assert begins == pytest.approx([0, 0.4, 0.5]) and {row[f"videos/{KEY}_masked/file_index"] for row in episodes} == {
        0
    }


def test_statistics_are_those_of_what_is_shown(trip):
    out, _ = trip("v2.1")
    found = json.loads((out / "meta/stats.json").read_text())
    values_N = np.concatenate([np.arange(length) for length in LENGTHS])
    assert found["action"]["mean"][0] == pytest.approx(values_N.mean())
    assert found["action"]["std"][0] == pytest.approx(values_N.std()) and found["action"]["count"] == [11]
    masks_NHW = np.array([mask(e, f) & ((e, f) != (2, 5)) for e, n in enumerate(LENGTHS) for f in range(n)])
    assert found["observation.masks.high"]["mean"][0][0][0] == pytest.approx(masks_NHW.mean())
    assert found["observation.masks.high"]["std"][0][0][0] == pytest.approx(masks_NHW.std())
    shown = [masking.apply(picture(e, f), mask(e, f).astype(float)) for e, n in enumerate(LENGTHS) for f in range(n)][
        :-1
    ]
    pixels_NHWC = np.array([one.image_HWC for one in shown] + [np.full((64, 96, 3), 255)]) / 255
    stats_C = np.array(found[f"{KEY}_masked"]["mean"]).ravel()
    assert stats_C == pytest.approx(pixels_NHWC.mean((0, 1, 2)), abs=2e-3)
    assert np.array(found[f"{KEY}_masked"]["std"]).ravel() == pytest.approx(pixels_NHWC.std((0, 1, 2)), abs=2e-3)


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libsvtav1", "av1")])
def test_the_masked_video_is_encoded_as_the_original_is(trip, codec, name):
    out, _ = trip("v3.0", codec)
    told = json.loads((out / "meta/info.json").read_text())["features"][f"{KEY}_masked"]["info"]
    with Video(out / f"videos/{KEY}_masked/chunk-000/file-000.mp4") as made:
        assert (made.codec, made.pixel_format, made.rate) == (name, "yuv420p", FPS)
        assert made.key_interval == 2
    assert (told["video.codec"], told["video.fps"], told["video.height"]) == (name, FPS, 64)


def test_the_masked_video_may_take_the_cameras_place(trip):
    out, _ = trip("v2.1", replace=True, how="gray")
    features = json.loads((out / "meta/info.json").read_text())["features"]
    assert f"{KEY}_masked" not in features and features[KEY]["info"]["ivm.masked"] == KEY
    assert [path.name for path in (out / "videos").iterdir()] == [KEY]
    masked, _ = frames(out, KEY, 0)
    expected = masking.apply(picture(0, 2), mask(0, 2).astype(np.float32), "gray").image_HWC
    assert np.abs(masked[2].astype(int) - expected).mean() < 4


def test_the_export_is_imported_again_without_its_masks_as_cameras(trip):
    out, _ = trip("v2.1")
    found = list(read("lerobot", {"folder": str(out), "images": "out", "every": 1}))
    assert {pair.source for pair in found} == {"lerobot/high", "lerobot/high_masked"}
    assert len(found) == 2 * sum(LENGTHS)


def test_equal_labels_make_equal_bytes(trip, tmp_path):
    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    out, _ = trip("v3.0", "libsvtav1")
    first = files(shutil.copytree(out, tmp_path / "first"))
    out, _ = trip("v3.0", "libsvtav1")
    assert files(out) == first and not any(path.suffix == ".sqlite" for path in first)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"folder": ""}, "say which LeRobot set was labeled"),
        ({"images": "toys"}, "they are of 'sets/toy/videos.*give the same"),
        ({"camera": "left"}, "no camera 'left'"),
        ({"how": "crop"}, "must be one of 'overlay'"),
    ],
)
def test_what_cannot_be_exported_says_why(trip, options, why):
    with pytest.raises(ConfigError, match=why):
        trip("v2.1", **options)
