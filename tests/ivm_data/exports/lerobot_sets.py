"""Small LeRobot sets of every version, and labels of their frames by known masks."""

import json
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ivm_data.sources.foreign.common.foreign_reader import BadRecord
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.robots.lerobot_folder import LerobotFolder
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


def label(folder, data, every=1, without=(), by="address", turned=False):
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
        mask_HW = np.rot90(mask(e, f), -1 if turned else 0) & (not absent)
        bytes_ = f"{e} {f}".encode()
        sample = Sample(
            id=sample_id(bytes_, record.instruction), image=bytes_, width=mask_HW.shape[1], height=mask_HW.shape[0],
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


def frames(folder, key, number=0):
    """Frames and rows of an episode as a reader of v3.0 finds them."""
    data = LerobotFolder(folder)
    episode = list(data.episodes())[number]
    path, first = data.video(episode, key)
    with Video(folder / path) as opened:
        return [opened.frame(first + f) for f in range(episode["length"])], data.frames(episode)
