"""A data set of before there were inputs, in which pairs may be doubled, counts each pair once."""

import tarfile

import pyarrow.compute as pc
import pytest

from ivm_data.exports.run import Selection, export
from ivm_data.quality import cleaning
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from storage.data_set import DataSet
from storage.errors import ShardError
from storage.records import Status
from storage.upkeep.compact import compact
from storage.upkeep.verify import verify


def old_doubled(photos, labelers, labeler, records):
    """A data set of before there were inputs, whose manifest grew by a line and was labeled anew."""
    labeler.label(labelers.write_manifest(photos, records), old=True)
    (new,) = labelers.lines((6, 6))
    # Without inputs and from a folder of its own: nothing is known of the first manifest's pairs.
    apart = labelers.Labeler(labeler.data.with_name("apart"))
    apart.label(labelers.write_manifest(photos, [*records, new]), old=True)
    for path in apart.data.glob("labels/*/*"):
        (labeler.data / path.relative_to(apart.data)).write_bytes(path.read_bytes())


def test_a_data_set_that_is_doubled_already_counts_each_pair_once(tmp_path, photos, labelers, labeler, records):
    old_doubled(photos, labelers, labeler, records)
    assert len(list(labeler.data.glob("labels/*/*.light.parquet"))) == 8
    assert len(labelers.counted(labeler.data)) == 11
    for view in ("outcomes", "labels", "masks", "clean_labels"):
        assert labelers.sql(labeler.data, f"SELECT count(*) AS n FROM {view}") == [{"n": 11}]
    assert labelers.sql(labeler.data, "SELECT count(*) AS n FROM superseded") == [{"n": 10}]
    with DataSet.open(labeler.data) as data:
        labels = list(data.labels(pc.field("status") == "accepted"))
        assert len({label.sample.id for label in labels}) == len(labels)
        assert len(data.masks([label.sample.id for label in labels])) == len(labels)
        part = data.superseded["part"][0].as_py()
        gone = [
            row["sample_id"] for row in labelers.sql(labeler.data, f"SELECT * FROM superseded WHERE part = '{part}'")
        ]
        assert all(data.label(part, sample_id) is None for sample_id in gone)
    index = index_rows(labeler.data, RowsConfig(statuses=(Status.ACCEPTED, Status.REVIEW), test_share=0))
    assert len(index) == len(set(index.words("sample_id"))) == 11
    (found,) = [one for one in cleaning.overview(labeler.data) if one.rule.name == "duplicate_instructions"]
    assert found.found == 0
    every = Selection(statuses=("accepted", "review"))
    assert export("webdataset", labeler.data, tmp_path / "out", every, {}).labels == 11
    with tarfile.open(next((tmp_path / "out").glob("*.tar"))) as shard:
        keys = [name for name in shard.getnames() if name.endswith(".json")]
    assert len(keys) == len(set(keys)) == 11
    assert verify(labeler.data) == ()
    compact(labeler.data)
    assert len(labelers.counted(labeler.data)) == 11


def test_what_is_superseded_is_remembered_for_as_long_as_the_parts_are_the_same(
    photos, labelers, labeler, records, monkeypatch
):
    old_doubled(photos, labelers, labeler, records)
    assert labeler.label(labelers.write_manifest(photos, records)) == 0
    with monkeypatch.context() as context:
        context.setattr("storage.reading.counting._SUPERSEDED", "no SQL at all")
        assert len(labelers.counted(labeler.data)) == 11
        compact(labeler.data)
        assert len(labelers.counted(labeler.data)) == 11
    labeler.label(labelers.write_manifest(photos, labelers.lines((7, 7)), "new.jsonl"), old=True)
    with monkeypatch.context() as context, pytest.raises(ShardError):
        context.setattr("storage.reading.counting._SUPERSEDED", "no SQL at all")
        labelers.counted(labeler.data)
    assert len(labelers.counted(labeler.data)) == 12


def test_an_edited_manifest_of_a_data_set_without_inputs_is_read_once_and_not_labeled(
    photos, labelers, labeler, records
):
    mask = {"mask_rle": labelers.encoded(range(3))}
    records = labelers.lines(*labelers.PAIRS[:4], targets=[mask]) + records[4:]
    labeler.label(labelers.write_manifest(photos, records), old=True)
    grown = labelers.write_manifest(photos, [*records, *labelers.lines((7, 7))])
    assert labeler.prepare(grown).known == 0
    assert labeler.label(grown) == 1
    assert labeler.prepare(grown).open_parts() == []
    assert len(labelers.counted(labeler.data)) == 11
