"""Whole labels out of many parts: files are read several at once, and a condition names what is in them."""

from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ivm_data.exports.run import Selection, export
from storage.data_set import DataSet
from storage.errors import ShardError
from storage.parts import layout
from storage.reading import reader, whole_labels
from storage.upkeep.compact import compact

EVERY = Selection(statuses=("accepted", "review", "rejected"))


def test_a_light_file_is_opened_as_often_beside_many_as_beside_few(few, many, watched, tmp_path):
    opened = []
    for made in (few, many):
        with watched(made.data) as seen:
            export("coco", made.data, tmp_path / str(len(opened)), EVERY, {})
        opened.append([seen.of(f".{kind}.parquet") for kind in ("light", "heavy")])
    light, heavy = (high - low for low, high in zip(*opened, strict=True))
    # Footers, two openings for the choice, two for the rows; footers and rows of the heavy ones.
    assert light <= (1 + 2 + 2) * (24 - 3) and heavy <= 2 * (24 - 3)


@pytest.mark.parametrize("together", [0, 30, 512])
def test_a_condition_names_each_label_once_and_files_without_any_are_not_opened(
    copy, watched, monkeypatch, together, tmp_path
):
    monkeypatch.setattr(whole_labels, "TOGETHER", together)
    named, among = [], reader.among
    monkeypatch.setattr(reader, "among", lambda column, ids: among(column, named.append(list(ids)) or named[-1]))
    with DataSet.open(copy.data) as data:
        every = list(data.labels())
        keys = [(one.sample.id, data.recipe) for one in every[15:85:7]]
        parts = {one.sample.id: f"{copy.plan.parts[at // 10].name}" for at, one in enumerate(every)}
        table = pa.table({"part": [parts[name] for name, _ in keys], "sample_id": [name for name, _ in keys]})
        with watched(copy.data) as seen:
            found = list(data.labels_of(table))
    assert found == every[15:85:7]
    assert sorted(chain(*named)) == sorted(name for name, _ in keys)
    wanted = {layout.heavy_path(path) for path in seen.files if path.name.endswith(layout.LIGHT)}
    assert {path for path in seen.files if path.name.endswith(layout.HEAVY)} == wanted
    assert {path.name.removesuffix(layout.HEAVY) for path in wanted} == set(table["part"].to_pylist())


@pytest.mark.parametrize("joined", [False, True])
def test_labels_are_the_same_however_their_files_are_read(copy, monkeypatch, joined):
    if joined:
        compact(copy.data, target_rows=60)
    found = []
    for together in (0, 30, 512):
        monkeypatch.setattr(whole_labels, "TOGETHER", together)
        with DataSet.open(copy.data) as data:
            found.append(list(data.labels()))
    assert len(found[0]) == 240 and found[0] == found[1] == found[2]


@pytest.mark.parametrize("together", [0, 512])
def test_a_heavy_file_with_other_rows_is_told_apart(copy, monkeypatch, together):
    monkeypatch.setattr(whole_labels, "TOGETHER", together)
    with DataSet.open(copy.data) as data:
        heavy = data.by_kind["heavy"][1]
        table = pq.read_table(heavy)
        pq.write_table(table.slice(0, 4), heavy)
        with pytest.raises(ShardError, match="do not belong together"):
            list(data.labels())
        pq.write_table(pa.concat_tables([table, table]), heavy)
        with pytest.raises(ShardError, match="do not belong together"):
            list(data.labels())
