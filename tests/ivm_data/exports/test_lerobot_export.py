"""LeRobot sets of every version, labeled by known masks, exported and read again."""

import io
import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ivm_data.exports.run import Selection, export
from ivm_data.sources.foreign.common.foreign_reader import BadRecord
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.robots.lerobot_folder import LerobotFolder
from ivm_model import masking
from storage.errors import ConfigError
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.pixels.video import Video
from storage.records import Label, Lineage, PartResult, Sample, Scores, Status, sample_id
from storage.request import Request

FPS, SIZE = 10, (96, 64)
LENGTHS = (4, 1, 6)
TASKS = ("pick up the cup", "open the drawer")
KEY = "observation.images.high"


def picture(episode, frame):
    """A gradient with a grey of the frame's own, and a dark thing where the mask is."""
    image_HWC = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image_HWC[..., 0] = np.linspace(0, 200, SIZE[0])
    image_HWC[..., 1:] = 20 + 60 * episode + frame
    image_HWC[mask(episode, frame)] = (10, 90, 40)
    return image_HWC


def mask(episode, frame):
    """A square that goes to the right."""
    mask_HW = np.zeros((SIZE[1], SIZE[0]), bool)
    mask_HW[20:40, 10 + 6 * frame : 30 + 6 * frame + episode] = True
    return mask_HW


def video(path, images, codec="libx264", gop=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"crf": "1", "g": str(gop), "sc_threshold": "0"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for number, image_HWC in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image_HWC, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def parquet(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def rows(episodes):
    start = {e: sum(LENGTHS[:e]) for e in range(len(LENGTHS))}
    return pa.Table.from_pylist(
        [
            {"action": [float(f), 1.0], "timestamp": f / FPS, "frame_index": f, "episode_index": e,
             "index": start[e] + f, "task_index": e % len(TASKS)}
            for e in episodes
            for f in range(LENGTHS[e])
        ]
    )  # fmt: skip


def stats(e):
    values_N = np.arange(LENGTHS[e], dtype=float)
    return {
        "min": [0.0, 1.0], "max": [values_N.max(), 1.0], "mean": [values_N.mean(), 1.0],
        "std": [values_N.std(), 0.0], "count": [LENGTHS[e]],
    }  # fmt: skip


def write_set(folder, version, codec="libx264"):
    """A set of three episodes; in v3 the first two share their files."""
    three = version == "v3.0"
    templates = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    } if three else {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    kinds = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64"}
    features = {KEY: {"dtype": "video", "shape": [*SIZE[::-1], 3], "names": ["height", "width", "channels"]}}
    features["action"] = {"dtype": "float64", "shape": [2], "names": None}
    features |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in kinds.items()}
    features["task_index"] = {"dtype": "int64", "shape": [1], "names": None}
    (folder / "meta").mkdir(parents=True)
    facts = {"codebase_version": version, "robot_type": "toy", "fps": FPS, "features": features, "chunks_size": 1000}
    (folder / "meta" / "info.json").write_text(json.dumps(facts | templates))
    shown = {e: [picture(e, f) for f in range(LENGTHS[e])] for e in range(len(LENGTHS))}
    if three:
        parquet(folder / "meta/tasks.parquet", pa.table({"task_index": [0, 1], "__index_level_0__": list(TASKS)}))
        episodes = []
        for file, held in enumerate(([0, 1], [2])):
            parquet(folder / f"data/chunk-000/file-{file:03d}.parquet", rows(held))
            video(folder / f"videos/{KEY}/chunk-000/file-{file:03d}.mp4", [i for e in held for i in shown[e]], codec)
            begin = 0
            for e in held:
                place = {f"videos/{KEY}/chunk_index": 0, f"videos/{KEY}/file_index": file}
                episodes.append(
                    {"episode_index": e, "length": LENGTHS[e], "data/chunk_index": 0, "data/file_index": file,
                     f"videos/{KEY}/from_timestamp": begin / FPS, **place}
                    | {f"stats/action/{key}": value for key, value in stats(e).items()}
                )  # fmt: skip
                begin += LENGTHS[e]
        parquet(folder / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(episodes))
        return folder
    lines = {"tasks": [{"task_index": i, "task": task} for i, task in enumerate(TASKS)]}
    lines["episodes"] = [{"episode_index": e, "length": n} for e, n in enumerate(LENGTHS)]
    if version == "v2.1":
        lines["episodes_stats"] = [{"episode_index": e, "stats": {"action": stats(e)}} for e in range(len(LENGTHS))]
    for name, values in lines.items():
        (folder / f"meta/{name}.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in values))
    for e in range(len(LENGTHS)):
        parquet(folder / f"data/chunk-000/episode_{e:06d}.parquet", rows([e]))
        video(folder / f"videos/chunk-000/{KEY}/episode_{e:06d}.mp4", shown[e], codec)
    return folder


def label(folder, data, every=1, without=(), by="address"):
    """Label frames by their known masks; in the last frame of the last episode the thing is absent."""
    found, number = [], {}
    for record in read("lerobot", {"folder": str(folder), "images": "sets/toy", "every": every}):
        assert not isinstance(record, BadRecord)
        of_video = record.image.partition("::")[2]
        number[of_video] = number.get(of_video, -1) + 1
        found.append(record)
    places = [(e, f) for e, length in enumerate(LENGTHS) for f in range(0, length, every)]
    labels = []
    for (e, f), record in zip(places, found, strict=True):
        if (e, f) in without:
            continue
        absent = (e, f) == (2, 5)
        mask_HW = mask(e, f) & (not absent)
        bytes_ = f"{e} {f}".encode()
        sample = Sample(
            id=sample_id(bytes_, record.instruction), image=bytes_, width=SIZE[0], height=SIZE[1],
            instruction=record.instruction, source=record.source, kind="robot",
            image_uri=f"frames/{e}/{f}.jpg" if by == "episode" or (by == "either" and f % 2) else record.image,
            moment=None if by == "address" or (by == "either" and not f % 2) else record.moment,
        )  # fmt: skip
        labels.append(
            Label(
                sample=sample,
                request=Request.of(("cup",)),
                candidates=(),
                proposals=(),
                mask=rle.encode(mask_HW),
                scores=Scores(quality=0.9),
                status=Status.NO_TARGET if absent else Status.ACCEPTED,
                reason="ok",
                lineage=Lineage("3f9c0a51d2e7", (("grounder", "a@1"),)),
            )
        )
    commit_part(data, PartResult("part-00000", "3f9c0a51d2e7", tuple(labels)))
    return data


@pytest.fixture
def trip(tmp_path):
    """Writes a set, labels it and exports it; gives the export's folder and its counts."""

    def trip(version="v2.1", codec="libx264", every=1, without=(), by="address", **options):
        source = tmp_path / "sets" / "toy"
        if not source.exists():
            write_set(source, version, codec)
            label(source, tmp_path / "data", every, without, by)
        options = {"folder": str(source), "images": "sets/toy"} | options
        counts = export("lerobot", tmp_path / "data", tmp_path / "out", Selection(), options)
        return tmp_path / "out", counts

    return trip


def frames(folder, key, number=0):
    """Frames and rows of an episode as a reader of v3.0 finds them."""
    data = LerobotFolder(folder)
    episode = list(data.episodes())[number]
    path, first = data.video(episode, key)
    with Video(folder / path) as opened:
        return [opened.frame(first + f) for f in range(episode["length"])], data.frames(episode)


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


def test_an_episode_with_unlabeled_frames_is_left_out_and_the_card_says_so(trip):
    out, counts = trip("v3.0", without={(0, 2)})
    assert (counts.labels, counts.no_target, counts.left_out, counts.images) == (6, 1, 3, 7)
    episodes = pq.read_table(out / "meta/episodes").to_pylist()
    assert [(row["episode_index"], row["length"], row["dataset_from_index"]) for row in episodes] == [
        (0, 1, 0),
        (1, 6, 1),
    ]
    assert "- 0: 1 of its 4 frames have no mask" in (out / "README.md").read_text()
    original, table = frames(out, KEY, 1)
    assert np.abs(original[3].astype(int) - picture(2, 3)).mean() < 3
    assert set(table["episode_index"].to_pylist()) == {1}


@pytest.mark.parametrize(("gaps", "level"), [("show", 255), ("hide", 0)])
def test_frames_without_a_mask_are_shown_or_hidden_where_that_is_asked_for(trip, gaps, level):
    out, counts = trip("v2.1", every=2, gaps=gaps)
    masked, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 0, 1, 0, 1, 0]
    assert set(np.unique(np.array(Image.open(io.BytesIO(table["observation.masks.high"][1].as_py()["bytes"]))))) == {
        level
    }
    expected = picture(2, 1) if gaps == "show" else np.full((64, 96, 3), 255)
    assert np.abs(masked[1].astype(int) - expected).mean() < 4 and counts.images == 11


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


def torn_statistics(source, name):
    path = source / "meta/episodes_stats.jsonl"
    rows = path.read_text().splitlines()
    stats = json.loads(rows[1])["stats"]["action"]
    if name == "torn line":
        rows[1] = rows[1][:40]
    elif name == "no object":
        rows[1] = "[1]"
    else:
        changed = {
            "no count": {key: value for key, value in stats.items() if key != "count"},
            "no numbers": stats | {"mean": ["a", "b"]},
            "no frames": stats | {"count": [0]},
            "other shape": {key: value[:1] for key, value in stats.items()},
        }[name]
        rows[1] = json.dumps({"episode_index": 1, "stats": {"action": changed}})
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("torn line", "line 2 of meta/episodes_stats.jsonl is torn"),
        ("no object", "line 2 of meta/episodes_stats.jsonl is torn"),
        ("no count", "its statistics of 'action' lack 'count'"),
        ("no numbers", "its statistics of 'action' are no numbers"),
        ("no frames", "its statistics of 'action' count [0] frames"),
        ("other shape", "its statistics of 'action' have the shape (1,), those before (2,)"),
    ],
)
def test_statistics_that_cannot_be_read_leave_out_their_episode(trip, tmp_path, name, why):
    write_set(tmp_path / "sets" / "toy", "v2.1")
    label(tmp_path / "sets" / "toy", tmp_path / "data")
    torn_statistics(tmp_path / "sets" / "toy", name)
    out, counts = trip()
    assert counts.labels == 9 and why in (out / "README.md").read_text()
    assert json.loads((out / "meta/info.json").read_text())["total_episodes"] == 2
    assert json.loads((out / "meta/stats.json").read_text())["action"]["count"] == [LENGTHS[0] + LENGTHS[2]]


def test_a_torn_video_leaves_out_its_episode_alone(trip, tmp_path):
    trip("v2.1")
    path = tmp_path / f"sets/toy/videos/chunk-000/{KEY}/episode_000002.mp4"
    video(path, [picture(2, 0), picture(2, 1)])
    out, counts = trip("v2.1")
    assert (counts.labels, counts.left_out) == (5, 6)
    assert "- 2: 'episode_000002.mp4' has frames 0 to 1, none 2" in (out / "README.md").read_text()


def test_masks_are_carried_to_the_frames_between_labels_where_that_is_asked_for(trip):
    out, counts = trip("v3.0", every=3, gaps="track")
    assert (counts.labels, counts.left_out, counts.images) == (5, 0, 11)
    _, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 2, 2, 1, 2, 2]
    pngs = [one["bytes"] for one in table["observation.masks.high"].to_pylist()]
    carried = [np.array(Image.open(io.BytesIO(png))) > 0 for png in pngs]
    overlaps = [np.mean(mask_HW[mask(2, f)]) for f, mask_HW in enumerate(carried[:4])]
    assert min(overlaps) > 0.7, overlaps


def test_an_episode_whose_carried_masks_disagree_is_left_out(trip):
    out, _ = trip("v3.0", every=3, gaps="track", consistency=0.99)
    assert "- 2: masks carried to frames 0 to 3 from both sides overlap by" in (out / "README.md").read_text()


def test_the_tracker_may_be_one_with_weights(trip, tiny, tmp_path):
    tiny.sam2_video(tmp_path / "weights")
    tracker = f"sam2-video?path={tmp_path / 'weights'}&device=cpu&dtype=float32"
    out, counts = trip("v2.1", every=3, gaps="track", tracker=tracker)
    _, table = frames(out, f"{KEY}_masked", 2)
    assert table["mask_by.high"].to_pylist() == [1, 2, 2, 1, 2, 2] and counts.images == 11


@pytest.mark.parametrize(
    ("tracker", "why"), [("no-such", "no-such"), ("sam?path=zoo:segmenter&device=cpu", "'sam' tracks nothing")]
)
def test_what_tracks_nothing_is_refused(trip, tracker, why):
    with pytest.raises(ConfigError, match=why):
        trip("v2.1", every=3, gaps="track", tracker=tracker)
