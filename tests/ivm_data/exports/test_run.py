import json
import shutil

import pytest

from ivm_data.exports import formats as registry
from ivm_data.exports.export_format import Counts
from ivm_data.exports.run import MARKER, Selection, export
from storage.errors import ConfigError
from storage.parts.shards import write_decisions
from storage.records import Decision

EVERY = Selection(statuses=("accepted", "review", "rejected", "no_target"))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def instructions(folder):
    document = json.loads((folder / "instances.json").read_text())
    return {row["instruction"] for row in document["annotations"] + document["no_target"]}


@pytest.mark.parametrize("name", [name for name in registry.names() if name != "lerobot"])
def test_equal_labels_make_equal_bytes_and_every_label_is_counted(name, data, tmp_path):
    first = export(name, data, tmp_path / "first", EVERY, {})
    export(name, data, tmp_path / "second", EVERY, {})
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    assert first.labels == 6
    assert first.no_target + first.left_out == 2
    assert not list(tmp_path.glob(".*"))
    assert str(tmp_path).encode() not in b"".join(files_of(tmp_path / "first").values())


def test_accepted_labels_and_absent_targets_are_the_default(data, tmp_path):
    assert export("coco", data, tmp_path / "out", Selection(), {}) == Counts(labels=4, no_target=2, images=4)


def test_a_condition_in_sql_chooses_among_them(data, tmp_path):
    chosen = Selection(statuses=("accepted",), where="quality > 0.92 -- the best")
    export("coco", data, tmp_path / "out", chosen, {})
    assert instructions(tmp_path / "out") == {"Hebe die rote Tasse „links“ auf 🙂"}


def test_what_cleaning_excludes_is_not_exported(data, tmp_path, originals):
    copy = shutil.copytree(data, tmp_path / "data")
    sample = originals["Find the ring."].sample
    decided = {"parameters": "{}", "who": "ada", "decided_at": "2024-05-01T12:00:00.000000Z"}
    recipe = originals["Find the ring."].lineage.recipe
    write_decisions(
        copy,
        "area_outlier",
        "d-00000",
        [Decision(sample.id, recipe, "area_outlier", "mask", "exclude", "large", **decided)],
    )
    export("coco", copy, tmp_path / "out", Selection(), {})
    assert "Find the ring." not in instructions(tmp_path / "out")


def test_a_persons_mask_takes_the_engines_place_where_there_is_one(data, tmp_path, originals):
    export("coco", data, tmp_path / "out", Selection(human=True), {})
    rows = json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]
    by_text = {row["instruction"]: row for row in rows}
    human = originals["Find the dust."].sample.human_mask
    assert by_text["Find the dust."]["segmentation"]["counts"] == human.counts.decode()
    assert {text: row["mask_by"] for text, row in by_text.items() if row["mask_by"] == "human"} == {
        "Find the dust.": "human"
    }


def test_an_export_replaces_an_earlier_one_and_leaves_anothers_folder_alone(data, tmp_path):
    out = tmp_path / "out"
    export("coco", data, out, EVERY, {})
    export("yolo-seg", data, out, EVERY, {})
    assert not (out / "instances.json").exists()
    assert json.loads((out / MARKER).read_text())["format"] == "yolo-seg"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is there and is not an export of 'ivm export'"):
        export("coco", data, tmp_path / "mine", EVERY, {})
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_what_somebody_put_into_an_export_is_not_replaced(data, tmp_path):
    export("coco", data, tmp_path / "out", EVERY, {})
    (tmp_path / "out" / "images" / "mine.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds 7 files and an export wrote 6 of them"):
        export("coco", data, tmp_path / "out", EVERY, {})
    assert (tmp_path / "out" / "images" / "mine.png").exists()


def test_a_writer_that_dies_leaves_no_folder_and_the_earlier_export_whole(data, tmp_path, monkeypatch):
    export("coco", data, tmp_path / "out", EVERY, {})
    before = files_of(tmp_path / "out")
    with monkeypatch.context() as broken, pytest.raises(OSError, match="disk full"):
        broken.setattr("ivm_data.exports.coco.join_lists", _raise)
        export("coco", data, tmp_path / "out", Selection(), {})
    assert files_of(tmp_path / "out") == before
    export("coco", data, tmp_path / "out", Selection(), {})
    assert not list(tmp_path.glob(".*"))


def _raise(*_):
    raise OSError("disk full")


@pytest.mark.parametrize(
    ("name", "options", "selection", "message"),
    [
        ("voc", {}, {}, "unknown format 'voc'; choose one of coco"),
        ("coco", {"mask": "rle"}, {}, "no option 'mask'; choose from masks"),
        ("coco", {"masks": "bitmap"}, {}, "must be one of 'rle', 'polygons'"),
        ("coco", {"tolerance": "-1"}, {}, "tolerance must be at least 0"),
        ("llava", {"how": "erase"}, {}, "must be one of 'overlay'"),
        ("coco", {}, {"where": "qality > 0"}, "qality"),
        ("coco", {}, {"where": "quality > 2"}, "no label of"),
        ("coco", {}, {"statuses": ("fine",)}, "one of accepted, review, rejected, no_target, whole_image, got fine"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(name, options, selection, message, data, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export(name, data, tmp_path / "out", Selection(**selection), options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", registry.names())
def test_every_format_says_what_it_makes_and_loses(name):
    known = registry.describe(name)
    assert known.makes
    assert known.loses
    assert known.options
