"""Hostile input: values that JSON can spell, records that are nearly right, and files with a few bytes changed."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from storage.pixels import rle

SIZE = (20, 30)
"""(height, width) of the image that records name."""

TEXT = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["", " ", "../x", "a.png", "[/x]", "\x1b[2J", "%2e"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)
NUMBERS = st.integers(-3, 40) | st.floats(width=32) | st.sampled_from([10**9, -(10**9), 10**400, 1e308])


def png(size: tuple[int, int] = SIZE, mode: str = "RGB") -> bytes:
    """A picture of noise."""
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 4), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(file, "PNG")
    return file.getvalue()


@st.composite
def changed(draw: st.DrawFn, *whole: bytes) -> bytes:
    """One of the files with bytes changed, cut, doubled or put in; rarely as it was, rarely anything at all."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 4))):
        at, kind = (
            draw(st.integers(0, max(0, len(data) - 1))),
            draw(st.sampled_from(["set", "cut", "drop", "copy", "insert"])),
        )
        if kind == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 9))]
        elif kind == "copy":
            data[at:at] = data[at : at + draw(st.integers(1, 99))]
        else:
            data[at:at] = draw(st.binary(max_size=9))
    return bytes(data)


BOXES = st.lists(NUMBERS, min_size=3, max_size=5)
RLES = st.fixed_dictionaries(
    {"size": st.lists(NUMBERS, max_size=3) | st.just(list(SIZE)), "counts": TEXT | st.lists(NUMBERS, max_size=6) | JSON}
)
TARGETS = st.dictionaries(
    st.sampled_from(["mask_rle", "polygons", "mask", "box", "frame", "resize", "threshold"]), JSON
) | st.one_of(
    st.builds(lambda value: {"box": value}, BOXES),
    st.builds(
        lambda value, frame: {"box": value, "frame": frame}, BOXES, st.sampled_from(["image", "square", "pixels", 7])
    ),
    st.builds(lambda value: {"mask_rle": value}, RLES),
    st.builds(lambda value: {"polygons": value}, st.lists(st.lists(NUMBERS, max_size=9), max_size=3)),
    st.builds(
        lambda name, more: {"mask": name} | more,
        st.sampled_from(["mask.png", "gone.png", "a.png"]),
        st.sampled_from([{}, {"resize": True}, {"threshold": 9}, {"threshold": float("nan"), "resize": True}]),
    ),
)
RECORDS = st.fixed_dictionaries(
    {"image": st.just("a.png") | TEXT | JSON, "instruction": st.just("Find it.") | TEXT | JSON},
    optional={
        "source": TEXT | JSON, "kind": TEXT | JSON, "difficulty": TEXT | JSON, "held_out": JSON, "error": JSON,
        "targets": st.lists(TARGETS, max_size=3) | JSON, "mask": TEXT | RLES | JSON, "ignore": JSON,
    },
)  # fmt: skip


def lines(records: list[Any]) -> bytes:
    """As JSONL."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


JSONL_GOOD = lines([{"image": "a.png", "instruction": "Find it.", "targets": [{"box": [0, 0, 9, 9]}]}] * 3)
JSONL = st.lists(RECORDS | JSON, max_size=5).map(lines) | changed(JSONL_GOOD)
CSV_GOOD = b'image,instruction,kind,held_out,mask\na.png,"Find it, now.",k,true,mask.png\na.png,Other,,,\n'
CSV = changed(CSV_GOOD, CSV_GOOD.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + CSV_GOOD) | st.text(
    "a,\"\n\r\0\x85;'é", max_size=40
).map(lambda text: b"image,instruction\n" + text.encode())


PICKLE_GOOD = pickle.dumps([{"ref_id": 1, "sentences": [{"sent": "the cup"}]}], 2)
PICKLES = changed(
    PICKLE_GOOD,
    *(pickle.dumps({"a": [1, b"x", 2.5]}, protocol) for protocol in range(6)),
    b"Nr\xff\xff\xff\x05.",
    b"\x80\x05\x96\x00\x00\x00\x60\x00\x00\x00\x00.",
)
IMAGES = changed(*(png(mode=mode) for mode in ("RGB", "RGBA", "P", "L", "1", "LA")))
MASK = png(mode="L")
FULL = {"mask_rle": {"size": list(SIZE), "counts": rle.encode(np.ones(SIZE, bool)).counts.decode()}}
