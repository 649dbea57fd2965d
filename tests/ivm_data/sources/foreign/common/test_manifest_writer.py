"""What `write_manifest` makes of pairs that belong together, and what it counts."""

import json

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.common.foreign_reader import BadRecord, ForeignPair, LeftOut
from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError

LEFT, RIGHT = {"box": [1, 2, 9, 9]}, {"box": [20, 2, 29, 9]}


def every(*targets, image="a.png", text="Find every cup.", **more):
    return ForeignPair(image, text, targets=targets, unite=True, **more)


def written(tmp_path, *records):
    out = tmp_path / "m.jsonl"
    counts = write_manifest(records, out, "set")
    return counts, [json.loads(line) for line in out.read_text().splitlines()]


def test_pairs_of_one_image_and_final_instruction_become_one_with_all_their_targets(tmp_path):
    counts, rows = written(
        tmp_path,
        every(LEFT),
        every(LEFT, image="b.png"),
        every(RIGHT, text="Find every cup. "),
        every(LEFT, RIGHT, held_out=True),
        BadRecord("x", "y"),
        every(LEFT, text="Find every cafe\u0301."),
        every(RIGHT, text="Find every caf\u00e9."),
    )
    assert [row.get("targets") for row in rows] == [[LEFT, RIGHT], [LEFT], None, [LEFT, RIGHT]]
    assert [row.get("held_out", False) for row in rows] == [True, False, False, False]
    assert (counts.pairs, counts.labeled, counts.united, counts.held_out, counts.bad) == (3, 3, 3, 1, 1)
    assert (counts.duplicates, counts.conflicts) == (0, 0)


def test_pairs_that_mean_one_thing_alone_are_not_united_but_conflict(tmp_path):
    counts, rows = written(tmp_path, ForeignPair("a.png", "the cup", targets=(LEFT,)), every(RIGHT, text="the cup"))
    assert len(rows) == 2
    assert (counts.united, counts.conflicts, counts.pairs) == (0, 2, 2)
    counts, _ = written(tmp_path, *[ForeignPair("a.png", "the cup", targets=(LEFT,))] * 3)
    assert (counts.duplicates, counts.conflicts) == (2, 0)


@pytest.mark.parametrize("other", [(), None])
def test_what_is_there_is_not_united_with_what_is_absent_or_unknown(tmp_path, other):
    counts, rows = written(tmp_path, every(LEFT), ForeignPair("a.png", "Find every cup.", targets=other, unite=True))
    assert len(rows) == 2
    assert (counts.united, counts.conflicts, counts.duplicates) == (0, 2 * (other == ()), other is None)


def test_a_united_pair_reads_as_one_sample(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    written(tmp_path, every(LEFT), every(RIGHT))
    (sample,) = [outcome for part in plan(tmp_path / "m.jsonl") for outcome in read_part(part)]
    assert [box.x0 for box in sample.human_boxes] == [1, 20]


def test_everything_is_counted(tmp_path):
    counts, _ = written(
        tmp_path,
        ForeignPair("a.png", "1"),
        ForeignPair("a.png", "2", targets=()),
        ForeignPair("a.png", "3", targets=(LEFT,), held_out=True),
        LeftOut("point"),
        LeftOut("line"),
        LeftOut("point"),
        BadRecord("f.json: [3]", "it is torn"),
        BadRecord("f.json: [4]", "it is torn too"),
    )
    assert (counts.pairs, counts.labeled, counts.absent, counts.held_out, counts.bad) == (3, 2, 1, 1, 2)
    assert counts.left_out == {"point": 2, "line": 1}
    assert counts.first_bad == "f.json: [3]: it is torn"


def test_a_source_of_which_all_is_left_out_holds_no_records(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no records \(left out: 2 point\)"):
        write_manifest([LeftOut("point")] * 2, tmp_path / "m.jsonl", "set")


@pytest.mark.parametrize(
    "wrong",
    [
        {"instruction": 7},
        {"kind": ["x"]},
        {"difficulty": 3},
        {"source": 4},
        {"held_out": "false"},
        {"image": None},
        {"image": ""},
        {"image": b""},
    ],
)
def test_values_of_another_kind_make_a_bad_record(tmp_path, wrong):
    given = {"image": "a.png", "instruction": "Find it."} | wrong
    counts, rows = written(tmp_path, ForeignPair(**given))
    assert (counts.pairs, counts.bad) == (0, 1)
    assert repr(next(iter(wrong))) in rows[0]["error"]


def test_bytes_of_masks_are_stored_beside_those_of_images(tmp_path):
    Image.fromarray(np.eye(48, 64, dtype=bool)).save(tmp_path / "mask.png")
    mask = (tmp_path / "mask.png").read_bytes()
    _, (row,) = written(
        tmp_path, ForeignPair("a.png", "Find it.", targets=({"mask": mask},), ignore=({"mask": b"\x93NUMPY"},))
    )
    assert (tmp_path / row["targets"][0]["mask"]).read_bytes() == mask
    assert row["ignore"][0]["mask"].startswith("masks/") and row["ignore"][0]["mask"].endswith(".npy")


def test_images_of_this_machine_are_named_from_the_manifest(tmp_path):
    image = tmp_path / "photos" / "a.png"
    image.parent.mkdir()
    image.write_bytes(b"x")
    _, (row,) = written(tmp_path, ForeignPair(image, "Find it."))
    assert row["image"] == "photos/a.png"
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match=r"does not lie below.*write the manifest above the images"):
        write_manifest([ForeignPair(image, "Find it.")], tmp_path / "out" / "m.jsonl", "set")
    assert not list((tmp_path / "out").iterdir())
