import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError
from storage.pixels import rle


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world", "val", scenes=3, pairs_per_scene=3, human_share=0.5)


def samples_of(manifest, root=None):
    return [sample for part in plan(manifest) for sample in read_part(part, root)]


def rows_of(manifest):
    keys = ("image", "instruction", "source", "kind", "difficulty", "held_out", "targets")
    return [{key: row[key] for key in keys} for row in map(json.loads, manifest.read_text().splitlines())]


def test_a_manifest_comes_back_identical_through_parquet(world, tmp_path):
    table = tmp_path / "world.parquet"
    pq.write_table(pa.Table.from_pylist(rows_of(world)), table)
    written = write_manifest(read("parquet", {"table": str(table)}), tmp_path / "back.jsonl", "parquet")
    assert (written.labeled, written.bad) == (9, 0)
    assert samples_of(tmp_path / "back.jsonl", world.parent) == samples_of(world)


def test_a_datasets_folder_gives_its_images_as_files_beside_the_manifest(world, tmp_path):
    rows = [row | {"image": str(world.parent / row["image"])} for row in rows_of(world)]
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict(train=table).save_to_disk(tmp_path / "hf")
    out = tmp_path / "out" / "manifest.jsonl"
    records = read("hf-dataset", {"folder": str(tmp_path / "hf"), "split": "train"})
    write_manifest(records, out, "hf-dataset")
    assert len(list((out.parent / "images").iterdir())) == 3
    found, expected = samples_of(out), samples_of(world)
    assert [(s.id, s.image, s.human_mask, s.held_out) for s in found] == [
        (s.id, s.image, s.human_mask, s.held_out) for s in expected
    ]
    with pytest.raises(ConfigError, match="set split to one of train"):
        list(read("hf-dataset", {"folder": str(tmp_path / "hf")}))


def test_images_counts_and_masks_may_be_bytes_boxes_and_paths(tmp_path, draw):
    data = (draw("a.png") / "a.png").read_bytes()
    mask = rle.encode(np.eye(48, 64, dtype=bool))
    rows = [
        {"picture": {"bytes": data, "path": "/somewhere/a.png"}, "text": "Find it.",
         "targets": [{"mask_rle": {"size": [48, 64], "counts": mask.counts}, "box": None}],
         "mask": None},
        {"picture": {"bytes": data, "path": None}, "text": "Find that.",
         "targets": [{"mask_rle": None, "box": [1.0, 2.0, 3.0, 4.0]}]},
        {"picture": {"bytes": data, "path": None}, "text": "Find this.", "mask": "mask.png"},
        {"picture": {"bytes": None, "path": "/etc/hostname"}, "text": "Find this."},
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    options = {"table": str(tmp_path / "set.parquet"), "image": "picture", "instruction": "text"}
    write_manifest(read("parquet", options), tmp_path / "m.jsonl", "set")
    Image.fromarray(np.ones((48, 64), bool)).save(tmp_path / "mask.png")
    first, second, third, fourth = samples_of(tmp_path / "m.jsonl")
    assert first.human_mask == mask
    assert (second.human_boxes[0].x1, second.human_mask) == (3, None)
    assert rle.area(third.human_mask) == 48 * 64
    assert fourth.reason == "bad_source_record"


def test_a_table_that_cannot_be_read_is_a_configuration_error(tmp_path):
    table = tmp_path / "x.parquet"
    table.write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        list(read("parquet", {"table": str(table)}))
    pq.write_table(pa.table({"picture": ["a.png"]}), table)
    with pytest.raises(ConfigError, match=r"no column 'image'; its columns are picture"):
        list(read("parquet", {"table": str(table)}))
    with pytest.raises(ConfigError, match="save_to_disk"):
        list(read("hf-dataset", {"folder": str(tmp_path)}))


MASK = np.zeros((48, 64), bool)
MASK[4:20, 8:30] = True


def png(values):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(values)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def table(tmp_path, draw):
    """Writes rows of one image each as a Parquet file; returns the samples of it."""
    data = (draw("a.png") / "a.png").read_bytes()

    def table(*rows, options=None, name="set.parquet"):
        rows = [
            {"image": {"bytes": data, "path": "x.png"}, "instruction": f"Find {n}."} | row for n, row in enumerate(rows)
        ]
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        write_manifest(read("parquet", {"table": str(tmp_path / name)} | (options or {})), tmp_path / "m.jsonl", "set")
        return samples_of(tmp_path / "m.jsonl")

    return table


@pytest.mark.parametrize("name", ["mask", "segmentation_mask"])
def test_a_column_of_masks_may_hold_pictures_bytes_or_run_lengths(name, table):
    counts = rle.encode(MASK)
    options = {} if name == "mask" else {"mask": name}
    for value in (
        {"bytes": png(MASK), "path": None},
        png(MASK * np.uint8(255)),
        {"size": [48, 64], "counts": counts.counts},
        [{"bytes": png(MASK), "path": None}, {"bytes": png(MASK), "path": None}],
    ):
        (sample,) = table({name: value}, options=options)
        assert sample.human_mask == counts


def test_a_mask_that_is_no_picture_is_a_bad_record_and_a_black_one_no_absence(table):
    outcomes = table({"mask": {"bytes": None, "path": "/etc/x"}}, {"mask": {"bytes": b"", "path": "x"}})
    assert [outcome.reason for outcome in outcomes] == ["bad_source_record"] * 2
    (black,) = table({"mask": {"bytes": png(MASK & False), "path": None}})
    assert black.reason == "bad_human_mask"
    (empty,) = table({"mask": [], "held_out": True})
    assert empty.reason == "bad_source_record"


def test_our_own_masks_are_read_and_black_ones_are_absent(table):
    ours = {"mask_by": "engine", "status": "accepted"}
    full, absent = table(
        {"mask_image": {"bytes": png(MASK), "path": "1"}} | ours,
        {"mask_image": {"bytes": png(MASK & False), "path": "2"}} | ours,
    )
    assert full.human_mask == rle.encode(MASK)
    assert rle.area(absent.human_mask) == 0
    (foreign,) = table({"mask_image": {"bytes": png(MASK & False), "path": "2"}})
    assert foreign.reason == "bad_human_mask"


def test_our_own_targets_come_before_our_own_masks(table):
    (absent,) = table(
        {"mask_image": {"bytes": png(MASK), "path": "1"}, "targets": pa.scalar([], pa.list_(pa.string())).as_py()}
    )
    assert absent.human_mask is None or rle.area(absent.human_mask) == 0


@pytest.mark.parametrize(
    ("value", "held_out"),
    [("false", False), ("True", True), ("no", False), (1, True), (0, False), (True, True), (None, False)],
)
def test_what_is_held_out_is_read_by_its_meaning(value, held_out, table):
    (sample,) = table({"held_out": value})
    assert sample.held_out is held_out


def test_a_word_that_is_neither_yes_nor_no_is_a_bad_record(table):
    (bad,) = table({"held_out": "perhaps"})
    assert bad.reason == "bad_source_record" and "'held_out' must be true or false" in bad.detail


@pytest.mark.parametrize("name", ["heldout", "target", "Masks", "bbox"])
def test_columns_that_would_be_misread_are_a_configuration_error(name, table):
    with pytest.raises(ConfigError, match=f"the key '{name}'"):
        table({name: "x"})


def test_a_mask_column_that_is_named_must_be_there(table):
    with pytest.raises(ConfigError, match="no column 'seg'"):
        table({}, options={"mask": "seg"})


@pytest.mark.parametrize("pattern", ["hf", "hf/data", "hf/data/train-*.parquet", "hf/**/*.parquet"])
def test_folders_and_patterns_of_parquet_are_read_whole(pattern, table, tmp_path):
    for number in range(2):
        table({"instruction": f"Find {number}."}, name=f"hf/data/train-{number:05d}.parquet")
    pairs = list(read("parquet", {"table": str(tmp_path / pattern)}))
    assert [pair.instruction for pair in pairs] == ["Find 0.", "Find 1."]


def test_a_folder_of_several_splits_is_not_mixed(table, tmp_path):
    for split in ("train", "test"):
        table({}, name=f"hf/data/{split}-00000-of-00001.parquet")
    with pytest.raises(ConfigError, match="holds the splits test, train; import each alone"):
        list(read("parquet", {"table": str(tmp_path / "hf")}))
    assert len(list(read("parquet", {"table": str(tmp_path / "hf/data/test-*.parquet")}))) == 1
    with pytest.raises(ConfigError, match="no Parquet file, no folder of them, and no pattern"):
        list(read("parquet", {"table": str(tmp_path / "none*")}))


@pytest.mark.parametrize("nested", [False, True])
def test_a_datasets_folder_gives_its_masks_too(nested, draw, tmp_path):
    picture = datasets.Image()
    rows = {"image": [str(draw("a.png") / "a.png")], "instruction": ["Find it."]}
    features = {"image": picture, "instruction": datasets.Value("string")}
    masks = [{"bytes": png(MASK), "path": None}]
    features |= {"mask": datasets.List(picture) if nested else picture}
    table = datasets.Dataset.from_dict(
        rows | {"mask": [masks] if nested else masks}, features=datasets.Features(features)
    )
    table.save_to_disk(tmp_path / "hf")
    write_manifest(read("hf-dataset", {"folder": str(tmp_path / "hf")}), tmp_path / "m.jsonl", "set")
    (sample,) = samples_of(tmp_path / "m.jsonl")
    assert sample.human_mask == rle.encode(MASK)
