"""LeRobot sets of every version, written small in their own layout, and a real one."""

import json
import re
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ivm_data.sources.files import ImageFiles
from ivm_data.sources.foreign.readers import read
from storage.errors import ConfigError, InputError
from storage.pixels.images import decode
from storage.records import Moment

FPS = 10
LENGTHS = (4, 1, 6)
TASKS = ("pick up the cup", "open the drawer")
CAMERAS = {"observation.images.high": (64, 48), "observation.images.wrist": (32, 32)}


def grey(episode, frame, camera):
    """What a frame shows: every one another grey."""
    return 20 + 60 * episode + 6 * frame + (3 if camera.endswith("wrist") else 0)


def video(path, greys, size, times=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, value in enumerate(greys):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), value, np.uint8), format="rgb24")
            frame.pts, frame.time_base = times[number] if times else number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rows(episodes):
    """Rows of a data file, episode after episode."""
    found = [
        {"episode_index": e, "frame_index": f, "timestamp": f / FPS, "index": 0, "task_index": e % len(TASKS)}
        for e in episodes
        for f in range(LENGTHS[e])
    ]
    return pa.Table.from_pylist(found)


def parquet(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def lines(path, values):
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))


def info(folder, version, data_path, video_path):
    features = {key: {"dtype": "video", "shape": [*size[::-1], 3]} for key, size in CAMERAS.items()}
    features |= {"action": {"dtype": "float32", "shape": [2]}}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(
        json.dumps(
            {
                "codebase_version": version, "fps": FPS, "features": features, "chunks_size": 2,
                "data_path": data_path, "video_path": video_path,
            }
        )
    )  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return tmp_path / "images"


@pytest.fixture
def v2(root):
    """A v2.1 set: a file an episode and camera, two episodes a chunk."""
    folder = root / "v2"
    info(
        folder, "v2.1", "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )  # fmt: skip
    lines(folder / "meta" / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(TASKS)])
    lines(folder / "meta" / "episodes.jsonl", [{"episode_index": e, "length": n} for e, n in enumerate(LENGTHS)])
    for e, length in enumerate(LENGTHS):
        parquet(folder / f"data/chunk-{e // 2:03d}/episode_{e:06d}.parquet", rows([e]))
        for camera, size in CAMERAS.items():
            greys = [grey(e, f, camera) for f in range(length)]
            video(folder / f"videos/chunk-{e // 2:03d}/{camera}/episode_{e:06d}.mp4", greys, size)
    return folder


@pytest.fixture
def v3(root):
    """A v3.0 set: the first two episodes share their files, the third has its own."""
    folder = root / "v3"
    info(
        folder, "v3.0", "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )  # fmt: skip
    tasks = {"task_index": range(len(TASKS)), "__index_level_0__": TASKS}
    parquet(folder / "meta/tasks.parquet", pa.table({name: list(values) for name, values in tasks.items()}))
    files, episodes = {0: [0, 1], 1: [2]}, []
    for file, held in files.items():
        parquet(folder / f"data/chunk-000/file-{file:03d}.parquet", rows(held))
        begin = 0
        for e in held:
            of_videos = {}
            for camera in CAMERAS:
                of_videos |= {
                    f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": file,
                    f"videos/{camera}/from_timestamp": begin / FPS,
                }  # fmt: skip
            begin += LENGTHS[e]
            place = {"data/chunk_index": 0, "data/file_index": file, "stats/action/mean": [0.0]}
            episodes.append({"episode_index": e, "length": LENGTHS[e], "tasks": ["x"], **place, **of_videos})
        for camera, size in CAMERAS.items():
            greys = [grey(e, f, camera) for e in held for f in range(LENGTHS[e])]
            video(folder / f"videos/{camera}/chunk-000/file-{file:03d}.mp4", greys, size)
    parquet(folder / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(episodes))
    return folder


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_every_kth_frame_of_each_camera_is_read_from_its_video(ingest, root, version, request):
    folder = request.getfixturevalue(version)
    found = ingest("lerobot", root, folder=str(folder), images=version, every=3)
    expected = [
        (TASKS[e % 2], f"lerobot/{camera.rpartition('.')[2]}", size, grey(e, f, camera))
        for e, length in enumerate(LENGTHS)
        for camera, size in CAMERAS.items()
        for f in range(0, length, 3)
    ]
    moments = [
        Moment(f"{version}/{e}", camera.rpartition(".")[2], f, pytest.approx(f / FPS))
        for e, length in enumerate(LENGTHS)
        for camera in CAMERAS
        for f in range(0, length, 3)
    ]
    assert [one.moment for one in found] == moments
    told = [(one.instruction, one.source, (one.width, one.height)) for one in found]
    assert told == [row[:3] for row in expected]
    assert [decode(one.image).mean() for one in found] == pytest.approx([row[3] for row in expected], abs=2)
    assert all(one.image_uri.startswith("video://") and f"::{version}/videos/" in one.image_uri for one in found)


def test_one_camera_by_its_key_or_its_short_name(records, v2):
    for name in ("observation.images.wrist", "wrist"):
        pairs, bad = records("lerobot", folder=str(v2), camera=name, every=100)
        assert len(pairs) == len(LENGTHS) and not bad and {pair.source for pair in pairs} == {"lerobot/wrist"}
    with pytest.raises(ConfigError, match=r"no camera 'left'.*observation.images.high, observation.images.wrist"):
        list(read("lerobot", {"folder": str(v2), "camera": "left"}))


def test_images_in_the_rows_are_taken_as_they_are(ingest, root, v2):
    facts = json.loads((v2 / "meta/info.json").read_text())
    facts["features"] = {"observation.image": {"dtype": "image"}}
    (v2 / "meta/info.json").write_text(json.dumps(facts))
    for e in range(len(LENGTHS)):
        path = v2 / f"data/chunk-{e // 2:03d}/episode_{e:06d}.parquet"
        stored = []
        for f in range(LENGTHS[e]):
            file = BytesIO()
            Image.new("RGB", (16, 16), (e, f, 0)).save(file, "PNG")
            stored.append({"bytes": file.getvalue(), "path": None})
        parquet(path, rows([e]).append_column("observation.image", pa.array(stored)))
    found = ingest("lerobot", None, folder=str(v2), every=2)
    assert [tuple(decode(one.image)[0, 0].tolist()) for one in found] == [
        (e, f, 0) for e, length in enumerate(LENGTHS) for f in range(0, length, 2)
    ]


def damage(name, folder):
    videos = sorted((folder / "videos").rglob("*high*/*000000.mp4"))
    if name == "video missing":
        videos[0].unlink()
    elif name == "video is a pointer":
        videos[0].write_text("version https://git-lfs.github.com/spec/v1\n")
    elif name == "rows missing":
        parquet(folder / "data/chunk-000/episode_000000.parquet", rows([0]).slice(0, 2))
    elif name == "rows torn":
        (folder / "data/chunk-000/episode_000000.parquet").write_bytes(b"PAR1")
    elif name == "frames out of order":
        table = rows([0]).set_column(1, "frame_index", pa.array([0, 1, 1, 3]))
        parquet(folder / "data/chunk-000/episode_000000.parquet", table)
    elif name == "task unknown":
        table = rows([0]).set_column(4, "task_index", pa.array([7] * 4))
        parquet(folder / "data/chunk-000/episode_000000.parquet", table)
    elif name == "task torn":
        path = folder / "meta/tasks.jsonl"
        path.write_text(path.read_text().replace('{"task_index": 0', '{"task_ind', 1))
    elif name == "task is null":
        lines(folder / "meta/tasks.jsonl", [{"task_index": 0, "task": None}, {"task_index": 1, "task": TASKS[1]}])
    elif name == "frames missing in the video":
        greys = [grey(0, f, "high") for f in range(LENGTHS[0])]
        video(videos[0], greys, CAMERAS["observation.images.high"], times=[0, 1, 3, 4])
    elif name == "task empty":
        lines(folder / "meta/tasks.jsonl", [{"task_index": 0, "task": " "}, {"task_index": 1, "task": TASKS[1]}])
    else:
        path = folder / "meta/episodes.jsonl"
        path.write_text(path.read_text().replace('{"episode_index": 0, ', "{", 1))


@pytest.mark.parametrize(
    ("name", "why", "kept"),
    [
        ("video missing", r"'videos/.*high/episode_000000.mp4' is missing", {1, 2}),
        ("video is a pointer", "Git LFS pointer; fetch it: git lfs pull", {1, 2}),
        ("rows missing", "2 of its 4 frames lie in", {1, 2}),
        ("rows torn", "cannot be read|torn", {1, 2}),
        ("frames out of order", "not numbered 0 to 3", {1, 2}),
        ("task unknown", r"task_index 7 is not in meta/tasks; those are \[0, 1\]", {1, 2}),
        ("task empty", "task 0 is empty", {1}),
        ("task is null", "task 0 is empty", {1}),
        ("task torn", r"task_index 0 is not in meta/tasks; those are \[1\]", {1}),
        ("frames missing in the video", "frame 2 lies at 0.300 s in its video .* should at 0.200 s", {1, 2}),
        ("episode without a number", "'episode_index' is missing", {1, 2}),
    ],
)
def test_an_episode_that_cannot_be_used_says_why_and_the_others_go_on(records, v2, name, why, kept):
    damage(name, v2)
    pairs, bad = records("lerobot", folder=str(v2), every=100)
    assert {int(pair.image.rpartition("_")[2][:6]) for pair in pairs} == kept
    assert len(bad) == len(LENGTHS) - len(kept)
    assert all(re.search(why, record.why) for record in bad), [record.why for record in bad]


def test_a_v3_episode_whose_files_lack_it_says_so(records, v3):
    parquet(v3 / "data/chunk-000/file-000.parquet", rows([0]))
    pairs, bad = records("lerobot", folder=str(v3), every=100)
    assert [record.why for record in bad] == ["0 of its 1 frames lie in 'data/chunk-000/file-000.parquet'"]
    assert len(pairs) == 2 * len(CAMERAS)


def test_an_episode_that_the_files_count_and_nothing_names_is_said(records, v3):
    facts = json.loads((v3 / "meta/info.json").read_text())
    (v3 / "meta/info.json").write_text(json.dumps(facts | {"total_episodes": 5}))
    pairs, bad = records("lerobot", folder=str(v3), every=100)
    assert len(pairs) == len(LENGTHS) * len(CAMERAS)
    assert [(one.where, one.why) for one in bad] == [
        ("meta/info.json", "it counts 5 episodes, and meta/episodes does not name 3, 4")
    ]


def test_a_video_whose_codec_nobody_knows_rejects_its_frames(ingest, root, v2):
    path = v2 / "videos/chunk-000/observation.images.high/episode_000000.mp4"
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    found = ingest("lerobot", root, folder=str(v2), images="v2", camera="high", every=1)
    bad = [one for one in found if hasattr(one, "reason")]
    assert len(found) == sum(LENGTHS) and len(bad) == LENGTHS[0]
    assert {one.reason for one in bad} == {"image_unreadable"}


def test_a_video_that_is_too_short_rejects_the_frames_that_it_lacks(ingest, root, v2):
    video(v2 / "videos/chunk-001/observation.images.high/episode_000002.mp4", [200, 210], (64, 48))
    found = ingest("lerobot", root, folder=str(v2), images="v2", camera="high", every=1)
    bad = [one for one in found if hasattr(one, "reason")]
    assert len(found) == sum(LENGTHS) and len(bad) == 4
    assert {one.reason for one in bad} == {"image_missing"} and "frames 0 to 1, none 2" in bad[0].detail


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"codebase_version": "v1.6"}, r"says codebase_version 'v1.6'; v2.0, v2.1, v3.0 can be read"),
        ([], "holds no JSON object"),
        (None, "cannot be read"),
    ],
)
def test_a_folder_of_no_such_data_set_is_refused(tmp_path, facts, why):
    (tmp_path / "meta").mkdir()
    if facts is not None:
        (tmp_path / "meta" / "info.json").write_text(json.dumps(facts))
    with pytest.raises(ConfigError, match=why):
        list(read("lerobot", {"folder": str(tmp_path)}))


def test_a_real_set_of_a_humanoid_in_av1(ingest, lerobot_g1):
    found = ingest("lerobot", lerobot_g1.parent, folder=str(lerobot_g1), images="lerobot_g1", every=90)
    assert len(found) == 3 + 4 + 4
    assert {one.instruction for one in found} == {"Pick up the yellow bottle on the table."}
    assert {(one.width, one.height) for one in found} == {(640, 480)}
    assert len({one.image for one in found}) == len(found)


def test_the_number_of_a_frame_must_be_one(v2, root):
    path = "v2/videos/chunk-000/observation.images.high/episode_000000.mp4"
    with ImageFiles(root) as files:
        assert decode(files.read(f"video://0::{path}", 1 << 20)).shape == (48, 64, 3)
        for member, why in (("4", "frames 0 to 3"), ("-1", "no number"), ("x", "no number"), ("0.5", "no number")):
            with pytest.raises(InputError, match=why):
                files.read(f"video://{member}::{path}", 1 << 20)
        with pytest.raises(InputError, match="at most 50 are read"):
            files.read(f"video://0::{path}", 50)
        with pytest.raises(InputError, match="image_outside_root"):
            files.read("video://0::../x.mp4", 50)
