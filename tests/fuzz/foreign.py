"""The readers of other people's data sets, over small inputs with faults in their values or in their bytes."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from harness import Target
from hypothesis import assume
from hypothesis import strategies as st
from PIL import Image

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.foreign.tools import brush
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError
from storage.pixels import rle
from storage.records import REASONS, Rejection, Sample

MASK = np.zeros((48, 64), np.uint8)
MASK[10:20, 8:30] = 255
SQUARE = [4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]
RUNS = {"size": [48, 64], "counts": rle.encode(MASK > 0).counts.decode()}


def png(values=MASK, form="PNG"):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    return stream.getvalue()


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def video():
    """Three frames of H.264."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=10)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for grey in (20, 120, 220):
            container.mux(
                track.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24"))
            )
        container.mux(track.encode())
    return stream.getvalue()


LEROBOT = {
    "codebase_version": "v2.1", "fps": 10, "chunks_size": 1000, "features": {"cam": {"dtype": "video"}},
    "data_path": "d/{episode_index}.parquet", "video_path": "v/{video_key}/{episode_index}.mp4",
}  # fmt: skip
COCO = {
    "info": {"contributor": "x"},
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}, {"id": "u-2", "coco_url": "http://x/b.png"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 16, 16], "segmentation": [SQUARE, [5, 5, 6, 6]]},
        {"id": 2, "image_id": "u-2", "category_id": 2, "bbox": [4, 4, 16, 16], "segmentation": RUNS},
        {"id": 3, "image_id": 1, "category_id": 2, "bbox": [4, 4, 16, 16], "segmentation": None},
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "ring"}],
}
REFS = [
    {"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "train", "sentences": [{"sent": "left cup"}]},
    {"ref_id": 2, "ann_id": [1, 2], "image_id": 1, "split": "val", "sentences": [{"sent": "both"}]},
]
URL = "data:image/png;base64," + base64.b64encode(png()).decode()
REGION = {"original_width": 64, "original_height": 48, "image_rotation": 0, "to_name": "image"}
TASKS = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/a.png", "instruction": "Find it."},
        "annotations": [
            {
                "result": [
                    {
                        "type": "brushlabels",
                        "value": {"rle": brush.encode(MASK).tolist(), "brushlabels": ["cup"]},
                        **REGION,
                    },
                    {"type": "polygonlabels", "value": {"points": [[0, 0], [50, 0], [50, 50]]}, **REGION},
                    {
                        "type": "ellipselabels",
                        "value": {"x": 20, "y": 30, "radiusX": 5, "radiusY": 5, "rotation": 9},
                        **REGION,
                    },
                    {
                        "type": "rectangle",
                        "value": {"x": 20, "y": 30, "width": 5, "height": 5, "rotation": 9},
                        **REGION,
                    },
                    {"type": "bitmask", "value": {"imageDataURL": URL}, **REGION},
                ]
            }
        ],
    },
    {"id": 2, "image": "b.png", "annotation_id": 3, "l": [{"x": 2, "y": 3, "width": 5, "height": 5, **REGION}]},
]
LABELME = {
    "imagePath": "a.png", "imageHeight": 48, "imageWidth": 64, "flags": {"no target: dog": True},
    "imageData": base64.b64encode(png()).decode(),
    "shapes": [
        {"label": "cup", "shape_type": kind, "points": points, "mask": base64.b64encode(png()[:]).decode()}
        for kind, points in (
            ("polygon", [[4, 4], [20, 4], [20, 20]]), ("circle", [[9, 9], [12, 9]]), ("mask", [[0, 0], [63, 47]]),
            ("rectangle", [[4, 4], [20, 20]]), ("point", [[1, 1]]),
        )
    ],
}  # fmt: skip
SA_CO = {
    "images": [
        {"id": 1, "file_name": "a.png", "text_input": "a cup", "width": 64, "height": 48, "is_instance_exhaustive": 1}
    ],
    "annotations": [{"id": 1, "image_id": 1, "bbox": [0.1, 0.1, 0.5, 0.5], "segmentation": None}],
}
TRIANGLE = [[1, 1], [9, 1], [9, 9]]
GRAPHS = {"a": {"width": 64, "height": 48, "objects": {"7": {"x": 1, "y": 2, "w": 9, "h": 9}}}}
GQA = {
    "1": {
        "imageId": "a", "question": "What?", "types": {"structural": "query"},
        "annotations": {"question": {"0": "7"}, "answer": {}, "fullAnswer": {}}, "semantic": [{"argument": "cup (-)"}],
    },
}  # fmt: skip
XML = (
    "<annotation><filename>a.png</filename><size><width>64</width><height>48</height></size><object><name>cup</name>"
    "<bndbox><xmin>4</xmin><ymin>4</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"
)
CVAT = (
    '<annotations><image id="0" name="a.png" width="64" height="48"><box label="cup" xtl="1" ytl="2" xbr="9" ybr="9" '
    'rotation="4"/><polygon label="cup" points="1,2;9,2;9,9"/>'
    '<mask label="ring" rle="1,4,1" left="1" top="2" width="3" height="2"/>'
    '<ellipse label="ring" cx="9" cy="9" rx="3" ry="4"/></image></annotations>'
)
ROWS = [
    {
        "image": "a.png",
        "instruction": "Find it.",
        "held_out": True,
        "targets": [{"polygons": [SQUARE], "box": None}],
        "mask": png(),
    },
    {"image": "b.png", "instruction": "Find that.", "held_out": None, "targets": [], "mask": None},
]
GRIT = [{"url": "a.png", "caption": "a cup", "noun_chunks": [[0.0, 5.0, 0.1, 0.1, 0.5, 0.5, 0.9]], "ref_exps": []}]


class Table(list):
    """Rows that are written as Parquet and not as JSON."""


def parquet(rows):
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def tar(facts):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, data in (("0.json", json.dumps(facts).encode()), ("0.png", png()), ("0.mask.png", png())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return stream.getvalue()


IMAGES = {"a.png": png(), "b.png": png()}
INPUTS = {
    "coco": ({"c.json": COCO}, {"instances": "c.json"}),
    "refcoco": ({"r.p": pickle.dumps(REFS, 2), "c.json": COCO}, {"refs": "r.p", "instances": "c.json", "images": ""}),
    "grefcoco": ({"r.json": REFS, "c.json": COCO}, {"refs": "r.json", "instances": "c.json", "images": ""}),
    "visual-genome": (
        {
            "i.json": [{"image_id": 1, "url": "http://x/vg/a.png", "width": 64, "height": 48}],
            "r.json": [{"regions": [{"image_id": 1, "phrase": "a cup", "x": 1, "y": 2, "width": 9, "height": 9}]}],
            "o.json": [{"image_id": 1, "objects": [{"names": ["cup"], "x": 1, "y": 2, "w": 9, "h": 9}]}],
        },
        {"image_data": "i.json", "regions": "r.json", "objects": "o.json", "images": ""},
    ),
    "gqa": (
        {"q.json": GQA, "g.json": GRAPHS},
        {"questions": "q.json", "scene_graphs": "g.json"},
    ),
    "flickr30k": (
        {
            "Sentences/a.txt": b"A [/EN#7/people man] runs .\n",
            "Annotations/a.xml": XML.replace("cup", "7").encode(),
        },
        {"entities": ""},
    ),
    "textvqa": ({"t.json": {"data": [{"image_id": "a", "question": "What?"}]}}, {"questions": "t.json"}),
    "openimages": (
        {"m.csv": b"MaskPath,ImageID,LabelName\na.png,a,/m/1\n", "c.csv": b"/m/1,Cup\n"},
        {"masks_csv": "m.csv", "classes": "c.csv", "images": "", "masks": ""},
    ),
    "vsr": (
        {"v.jsonl": lines({"image": "a.png", "caption": "It is.", "label": 1, "relation": "on"})},
        {"captions": "v.jsonl"},
    ),
    "ivm-mix": (
        {"m.jsonl": lines({"uuid": "a", "instruction": ["It."], "image": "a.png", "boxes": [[0.1, 0.1, 0.5, 0.5]]})},
        {"meta": "m.jsonl", "label": "boxes"},
    ),
    "llava-instruct": (
        {"l.json": [{"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"}]}]},
        {"conversations": "l.json", "images": ""},
    ),
    "grit": ({"g.parquet": Table(GRIT)}, {"table": "g.parquet", "boxes": True}),
    "reasonseg": (
        {
            "a.json": {"text": ["Find it."], "is_sentence": True, "shapes": [{"label": "x", "points": TRIANGLE}]},
            "a.jpg": png(form="JPEG"),
        },
        {"folder": "", "images": ""},
    ),
    "sa-co": ({"s.json": SA_CO}, {"annotations": "s.json"}),
    "robot-frames": ({"e/lang.txt": b"Find it.\n", "e/images0/im_0.png": png()}, {"folder": ""}),
    "lerobot": (
        {
            "meta/info.json": LEROBOT,
            "meta/tasks.jsonl": lines({"task_index": 0, "task": "Find it."}),
            "meta/episodes.jsonl": lines({"episode_index": 0, "tasks": ["Find it."], "length": 3}),
            "d/0.parquet": Table([{"episode_index": 0, "frame_index": f, "task_index": 0} for f in range(3)]),
            "v/cam/0.mp4": video(),
        },
        {"folder": "", "every": 1},
    ),
    "label-studio": ({"t.json": TASKS}, {"tasks": "t.json"}),
    "labelme": ({"l.json": LABELME}, {"folder": ""}),
    "parquet": ({"t.parquet": Table(ROWS)}, {"table": "t.parquet"}),
    "yolo": (
        {
            "data.yaml": yaml.safe_dump({"train": "images", "names": ["cup", "ring"]}).encode(),
            "images/a.png": png(),
            "labels/a.txt": b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.5 0.1 0.5 0.5\n",
        },
        {"data": "data.yaml"},
    ),
    "pascal-voc": (
        {"Annotations/a.xml": XML.encode(), "SegmentationClass/a.png": png(MASK // 51), "JPEGImages/a.png": png()},
        {"folder": ""},
    ),
    "cvat": ({"c.xml": CVAT.encode()}, {"annotations": "c.xml"}),
    "mask-folder": (
        {"i/a.png": png(), "m/a.png": png(MASK // 255), "n.txt": b"1: cup\n"},
        {"folder": "i", "masks": "m", "names": "n.txt"},
    ),
    "webdataset": ({"s.tar": tar({"instruction": "Find it.", "mask_rle": RUNS})}, {"shards": "s.tar"}),
    "folder": ({"i/a.png": png(), "t.txt": b"Find it.\na.png\tFind that.\n"}, {"folder": "i", "instructions": "t.txt"}),
}  # fmt: skip
PATHS = {
    "instances", "refs", "image_data", "regions", "objects", "questions", "scene_graphs", "entities", "masks_csv",
    "classes", "captions", "meta", "conversations", "table", "folder", "annotations", "tasks", "data", "masks", "names",
    "shards", "instructions",
}  # fmt: skip
"""Options that are paths of this machine; `masks` of OpenImages is not."""
ELSEWHERE = {"rlds", "hf-dataset"}
"""Read by the owner's library, which is tested on its own; what it hands over are rows as in the others."""

ODD = st.one_of(
    st.sampled_from([
        None, True, False, 0, -1, 1, 2**63, 2**200, 1e308, -1e308, 0.5, float("nan"), float("inf"), "", " ", "x",
        "\x00", "\ud800", "a" * 5000, "../../etc/passwd", "/etc/passwd", "http://[", "C:\\x", [], [[]], {}, {"a": None},
        [None], [1, 2, 3], ["x"], [[1, 2], [3]], {"size": [48, 64], "counts": [10**9]}, {"size": "big", "counts": ""},
        {"size": [10**6, 10**6], "counts": "0"}, [1e300] * 6, [[1e300] * 6], [0] * 7,
    ]),
    st.text(max_size=5), st.integers(), st.floats(),
)  # fmt: skip
TOKENS = st.sampled_from(
    [b"", b"-1", b"0", b"nan", b"1e400", b"9" * 30, b"x", b"\xff\xfe", b"\x00", b"<", b"&a;", b"\n", b",", b"0.5"]
)


def places(value, path=()):
    """Paths of everything inside a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def with_change(value, path, new, remove):
    """A copy with the value at a path replaced or removed."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(key, with_change(one, rest, new, remove) if key == head else one) for key, one in pairs]
    found = [(key, one) for key, one in found if not (remove and not rest and key == head)]
    return dict(found) if isinstance(value, dict) else [one for _, one in found]


def mutated(content, draw):
    """The bytes of a file with one to three faults in its values, in its bytes, or in both."""
    value = content
    for _ in range(0 if isinstance(content, bytes) else draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(value))))
        value = with_change(value, path, draw(ODD), draw(st.booleans()))
    raw = content if isinstance(content, bytes) else dumped(value, isinstance(content, Table))
    if value is not content and draw(st.booleans()):
        return raw
    tokens = [match.span() for match in re.finditer(rb"[\w.]+|[^\w\s]", raw)] or [(0, 0)]
    start, stop = draw(st.sampled_from(tokens))
    kind = draw(st.sampled_from(["replace", "cut", "bytes", "mark", "double"]))
    if kind == "replace":
        return raw[:start] + draw(TOKENS) + raw[stop:]
    if kind == "bytes":
        return raw[:start] + draw(st.binary(max_size=4)) + raw[start + draw(st.integers(0, 8)) :]
    return {"cut": raw[:start], "mark": b"\xef\xbb\xbf" + raw, "double": raw + raw[start:]}[kind]


def dumped(value, table=False):
    return parquet(value) if table else json.dumps(value, default=str).encode("utf-8", "surrogatepass")


@st.composite
def faulty(draw, name):
    """(name of a file, its bytes with faults) of a source's input."""
    files, _ = INPUTS[name]
    victim = draw(st.sampled_from(sorted(files)))
    try:
        return victim, mutated(files[victim], draw)
    except (pa.ArrowException, AttributeError, LookupError, TypeError, ValueError, OverflowError):
        assume(not isinstance(files[victim], Table))  # no such table can be written
        raise


def laid_out(folder: Path, files: dict[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in ({**IMAGES, **files}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else dumped(content, isinstance(content, Table)))


def outcomes(name: str, changed: tuple[str, bytes] | None, folder: Path) -> list[Sample | Rejection]:
    """What becomes of an input, from its files to samples and rejections: nothing is lost on the way."""
    files, options = INPUTS[name]
    folder = folder / "foreign"
    laid_out(folder, files if changed is None else {**files, changed[0]: changed[1]})
    local = PATHS - {"masks"} if name == "openimages" else PATHS
    given = {key: str(folder / value) if key in local else value for key, value in options.items()}
    try:
        counts = write_manifest(read(name, given), folder / "m.jsonl", name)
        found = [outcome for part in plan(folder / "m.jsonl") for outcome in read_part(part, folder)]
    except ConfigError as error:
        assert str(error) and "Traceback" not in str(error)
        raise
    finally:
        assert not list(folder.rglob("*.part"))
    assert len(found) == counts.pairs + counts.bad
    assert all(isinstance(outcome, Sample) or outcome.reason in REASONS for outcome in found)
    return found


def _target(name: str) -> Target:
    return Target(f"import {name}", faulty(name), None, lambda changed, at: outcomes(name, changed, at), (ConfigError,))


TARGETS = tuple(_target(name) for name in INPUTS)
