"""The start of a training: each light file is read once, and no heavy file before its rows are asked for."""

from collections.abc import Iterator

import pytest

from ivm_model.data.row_reader import RowReader
from ivm_model.data.training_index import index_of
from ivm_model.data.training_rows import RowsConfig
from storage.data_set import DataSet
from storage.tables.snapshots import Entry, Snapshot


class Counted(tuple):
    """Counts how often it is gone through."""

    times = 0

    def __iter__(self) -> Iterator[object]:
        Counted.times += 1
        return super().__iter__()


@pytest.mark.parametrize("made", ["few", "many"])
def test_light_files_are_read_in_one_pass_and_a_heavy_one_when_it_is_needed(request, watched, made):
    made = request.getfixturevalue(made)
    parts = len(made.plan.parts) // 2
    with DataSet.open(made.data) as data:
        frozen = data.now()
        with watched(made.data) as seen:
            index = index_of(data.at(None, frozen), RowsConfig())
        with watched(made.data) as read:
            assert len(RowReader(index, 4).rows(range(2 * 10), {})) == 20
    assert seen.of(".heavy.parquet") == 0
    assert seen.of(".light.parquet") <= 2 * parts + 2  # DuckDB opens a file for its footer and for its columns.
    assert len(read.files) == 2 + (index.words("part")[19] == made.part(2).name)


def test_what_a_snapshot_lists_is_gone_through_once():
    entries = Counted(Entry("labels", f"r{i % 2}", f"p{i}", "", 1) for i in range(10))
    snapshot = Snapshot(entries)
    assert [sorted(snapshot.parts(f"r{i % 3}")) for i in range(6)] == [
        [f"p{i}" for i in range(10) if i % 2 == owner] for owner in (0, 1, 2, 0, 1, 2)
    ]
    assert Counted.times == 1
