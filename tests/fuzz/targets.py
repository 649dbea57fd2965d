"""Everything that takes input from outside, in one list; `make fuzz` and the fast tests run each of them.

To add one: a strategy for its input, an input that it reads, and a function that reads an input or raises what it may.
"""

from __future__ import annotations

import json
from dataclasses import fields

import foreign
import inputs
import pages
import readers
from harness import Target
from hypothesis import strategies as st

from ivm_data.quality.calibration import ABSENT_FEATURES, MASK_FEATURES
from ivm_data.recipes.labeling_recipes import Recipe
from storage.errors import ConfigError, InputError, WeightsError

REGRESSION = st.fixed_dictionaries(
    {
        "features": st.just(list(ABSENT_FEATURES)) | inputs.JSON,
        **{
            name: st.lists(inputs.NUMBERS, min_size=2, max_size=2) | inputs.JSON for name in ("mean", "scale", "weight")
        },
        "bias": inputs.NUMBERS | inputs.JSON,
    }
)


def _numbers(features: int) -> dict[str, list[float]]:
    return {"mean": [0.0] * features, "scale": [1.0] * features, "weight": [1.0] * features}


CALIBRATION = {
    "mask": {"features": list(MASK_FEATURES), **_numbers(len(MASK_FEATURES)), "bias": 0},
    "absent": {"features": list(ABSENT_FEATURES), **_numbers(len(ABSENT_FEATURES)), "bias": 0},
    "proposers": {},
    "rows": [1, 1],
}
CALIBRATION_JSON = json.dumps(CALIBRATION).encode()
SQL = st.lists(
    st.sampled_from(
        [
            "true",
            "false",
            "quality > 0.5",
            "(",
            ")",
            "OR",
            "AND",
            "NOT",
            "'",
            "--",
            "/*",
            "*/",
            ";",
            ",",
            "\n",
            "\x00",
            "$$",
            '"',
            "1",
            "=",
            "IN",
            "SELECT",
            "UNION",
            "FROM labels",
            "ORDER BY 1",
        ]
    ),
    max_size=9,
).map(" ".join)
SETTINGS = st.sampled_from(
    [f.name for f in fields(Recipe)] + ["gate.accept", "fuse.threshold", "proposers.0.options", "a..b", ""]
)
EDITS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["add", "remove", "box", "brush", "eraser", "polygon", "cut"]) | inputs.JSON,
        "points": st.lists(st.tuples(inputs.NUMBERS, inputs.NUMBERS), max_size=4) | inputs.JSON,
    },
    optional={"radius": inputs.NUMBERS},
)
REVIEW = st.fixed_dictionaries(
    {"verdict": st.sampled_from(["right", "wrong", "unsure", "withdrawn"]) | inputs.JSON},
    optional={
        "note": inputs.TEXT | inputs.JSON,
        "corrected": inputs.JSON,
        "start": st.sampled_from(["label", "nothing", "everything"]) | inputs.JSON,
        "edits": st.lists(EDITS, max_size=2) | inputs.JSON,
    },
)
HOSTS = st.sampled_from(
    [b"127.0.0.1:7860", b"localhost", b"[::1]:7860", b"evil.example", b"[", b"", b"127.0.0.1.evil.example"]
)
HEADER = HOSTS | st.binary(max_size=12)
ORIGIN = st.none() | HEADER | HOSTS.map(lambda host: b"http://" + host)
METHOD = st.sampled_from(["GET", "POST"])

TARGETS = (
    Target(
        "manifest JSONL", inputs.JSONL, inputs.JSONL_GOOD, lambda data, at: readers.read_manifest("m.jsonl", data, at)
    ),
    Target("manifest CSV", inputs.CSV, inputs.CSV_GOOD, lambda data, at: readers.read_manifest("m.csv", data, at)),
    Target("data set with a damaged file", st.deferred(readers.damaged), ("", b""), readers.read_damaged_part),
    Target(
        "calibration",
        inputs.changed(CALIBRATION_JSON)
        | st.fixed_dictionaries(
            {
                **{name: st.just(CALIBRATION[name]) for name in ("mask", "proposers")},
                "absent": REGRESSION,
                "rows": st.just([1, 1]) | inputs.JSON,
            }
        ).map(lambda value: json.dumps(value).encode())
        | inputs.JSON.map(lambda value: json.dumps(value).encode()),
        CALIBRATION_JSON,
        readers.read_calibration,
        (WeightsError,),
    ),
    Target("pickle", inputs.PICKLES, inputs.PICKLE_GOOD, readers.read_pickle, (ConfigError,)),
    Target("image", inputs.IMAGES, inputs.png(), readers.read_image, (InputError,)),
    Target(
        "human mask",
        st.tuples(
            st.lists(inputs.TARGETS, max_size=3) | inputs.JSON,
            st.none() | inputs.RLES | inputs.TEXT | inputs.JSON,
            inputs.changed(inputs.MASK, inputs.png(mode="P"), inputs.png((9, 9), "L")),
        ),
        ([inputs.FULL], None, inputs.MASK),
        readers.read_mask,
        (InputError,),
    ),
    Target(
        "checkpoint .pth",
        st.deferred(lambda: inputs.changed(readers.pth(), readers.old_pth())),
        readers.pth(),
        readers.load_pth,
        (WeightsError,),
    ),
    Target(
        "checkpoint .safetensors",
        st.deferred(lambda: inputs.changed(readers.safetensors())),
        readers.safetensors(),
        readers.load_safetensors,
        (WeightsError,),
    ),
    Target("--where", SQL | inputs.TEXT, "quality >= 0", readers.choose, (ConfigError,)),
    Target(
        "--set",
        st.lists(st.tuples(SETTINGS | inputs.TEXT, inputs.TEXT | inputs.JSON), max_size=3),
        [("gate.accept", "0.9")],
        readers.change,
        (ConfigError,),
    ),
    Target(
        "review POST",
        st.tuples(
            st.sampled_from(["/review", "/edits", "undo"]),
            (REVIEW | inputs.JSON).map(lambda value: json.dumps(value).encode())
            | inputs.changed(b'{"verdict": "right", "note": "x"}'),
        ),
        ("/review", b'{"verdict": "right"}'),
        pages.review_body,
    ),
    Target(
        "review Host and Origin",
        st.tuples(METHOD, HEADER, ORIGIN, st.binary(max_size=9)),
        ("GET", b"localhost", None, b""),
        pages.review_headers,
    ),
    Target("app Host and Origin", st.tuples(METHOD, HEADER, ORIGIN), ("GET", b"localhost", None), pages.app_headers),
    *foreign.TARGETS,
)
