"""Opening a data set: a footer that was read once is not read again."""

import os

import pytest

from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.disk.publish import write_text
from storage.parts import footers


def opened_files(data, watched):
    """How many Parquet files an opening opens, and what it finds."""
    with watched(data) as seen, DataSet.open(data) as opened:
        found = opened.by_kind, opened.scanned.parts, opened.problems
    return seen.of(".parquet"), found


def lights(data):
    return sorted(data.rglob("*.light.parquet"))


def test_the_second_opening_reads_no_footer_and_finds_the_same(copy, watched):
    first, found = opened_files(copy.data, watched)
    again, same = opened_files(copy.data, watched)
    assert (first, again) == (4 * 24, 0)
    assert same == found
    with watched(copy.data) as seen, Catalog(copy.data) as catalog:
        assert catalog.problems == ()
    # DuckDB looks at the columns of the first file of each kind.
    assert len([path for path in seen.files if path.suffix == ".parquet"]) == 4


@pytest.mark.parametrize("how", ["cut", "replaced", "changed in place"])
def test_a_file_that_is_not_as_it_was_is_read_again(copy, watched, how):
    opened_files(copy.data, watched)
    one, other = lights(copy.data)[:2]
    if how == "cut":
        one.write_bytes(one.read_bytes()[:-100])
    elif how == "replaced":
        write_text(one, "no Parquet")
    else:
        text = bytearray(one.read_bytes())
        text[-4:] = b"TORN"
        one.write_bytes(text)
    read, (by_kind, _, problems) = opened_files(copy.data, watched)
    assert read == 1
    assert one not in by_kind["light"] and [str(problem.path.name) for problem in problems] == [one.name]
    other.unlink()
    assert len(opened_files(copy.data, watched)[1][2]) == 1


def test_what_is_not_whole_is_never_taken_as_known(copy, watched):
    damaged = lights(copy.data)[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    os.utime(damaged, (0, 0))
    assert [opened_files(copy.data, watched)[0] for _ in range(2)] == [4 * 24, 1]


def test_a_file_as_young_as_the_clock_is_coarse_is_read_again(copy, watched):
    lights(copy.data)[0].touch()
    assert [opened_files(copy.data, watched)[0] for _ in range(2)] == [4 * 24, 1]


@pytest.mark.parametrize("kept", ["", "no json", "{}", '{"version": 1}'])
def test_a_torn_list_is_made_anew(copy, watched, kept):
    _, found = opened_files(copy.data, watched)
    path = copy.data / footers.NAME
    whole = path.read_text()
    path.write_text(kept or whole.replace('"labels/', '"label5/', 1))
    assert opened_files(copy.data, watched) == (4 * 24, found)
    assert path.read_text() == whole


def test_other_schemas_make_nothing_known(copy, watched, monkeypatch):
    opened_files(copy.data, watched)
    monkeypatch.setattr(footers, "_version", lambda schemas: "of another version")
    assert opened_files(copy.data, watched)[0] == 4 * 24


def test_a_folder_that_cannot_be_written_goes_without(copy, watched):
    (copy.data / footers.NAME).mkdir()
    assert [opened_files(copy.data, watched)[0] for _ in range(2)] == [4 * 24] * 2


def test_few_files_are_not_listed(few, watched):
    opened_files(few.data, watched)
    assert not (few.data / footers.NAME).exists()
