import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ivm_data.sources.foreign.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world
from storage import rle
from storage.errors import ConfigError


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
