"""Compaction by itself, while parts are committed and when a run ends."""

import logging
import shutil

import pytest

from storage.data_set import DataSet
from storage.parts import layout
from storage.parts.files import alone_in
from storage.parts.shards import commit_part, is_committed
from storage.upkeep import compact as compaction
from storage.upkeep import tidy
from storage.upkeep.compact import SCRATCH, compact, compact_unless_busy
from storage.upkeep.digest import content_hash
from storage.upkeep.tidy import Tidy
from storage.upkeep.verify import verify

PARTS = 40


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(tidy, "PARTS", 8)
    monkeypatch.setattr(tidy, "PARTS_AT_THE_END", 3)


@pytest.fixture(scope="module")
def parts_of_a_run(build):
    """Forty parts of two rows."""
    return [build.with_inputs(build.make_part(f"part-{i:05d}", rows=2, seed=10 * i)) for i in range(PARTS)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, parts_of_a_run):
    """What they are where nothing is joined; tests must not change it."""
    data = tmp_path_factory.mktemp("plain")
    for part in parts_of_a_run:
        commit_part(data, part)
    return data


def light_files(data):
    return sorted(path.name for path in (data / "labels").rglob(f"*{layout.LIGHT}"))


def kept(data):
    """Everything that a compaction must leave as it is."""
    with DataSet.open(data) as opened:
        return content_hash(data), list(opened.light_of), opened.now().name, verify(data)


def test_a_run_of_many_parts_keeps_to_few_files_and_to_the_same_rows(tmp_path, build, parts_of_a_run, plain):
    files, seen = Tidy(tmp_path, build.RECIPE), []
    for part in parts_of_a_run:
        commit_part(tmp_path, part)
        files.committed()
        seen.append(len(list(tmp_path.rglob("*.parquet"))))
    files.ended()
    # One joint file and at most seven parts of their own, of four kinds.
    assert max(seen) <= 4 * 8 and seen[-1] == 4
    assert kept(tmp_path) == kept(plain)
    assert all(is_committed(tmp_path, build.RECIPE, part.part) for part in parts_of_a_run)
    assert not any(commit_part(tmp_path, part).fresh for part in parts_of_a_run)


def test_parts_that_were_there_before_are_not_counted(tmp_path, build, parts_of_a_run):
    files = Tidy(tmp_path, build.RECIPE)
    for part in parts_of_a_run[:20]:
        commit_part(tmp_path, part)
        files.committed(fresh=False)
    assert len(light_files(tmp_path)) == 20


@pytest.mark.parametrize(("parts", "left"), [(3, 3), (4, 1)])
def test_the_end_of_a_run_joins_what_is_many(tmp_path, build, parts_of_a_run, parts, left):
    for part in parts_of_a_run[:parts]:
        commit_part(tmp_path, part)
    Tidy(tmp_path, build.RECIPE).ended()
    assert len(light_files(tmp_path)) == left


def test_switched_off_it_leaves_every_file_as_it_is(tmp_path, build, plain, parts_of_a_run):
    data = shutil.copytree(plain, tmp_path / "data")
    files = Tidy(data, build.RECIPE, active=False)
    for _ in parts_of_a_run:
        files.committed()
    files.ended()
    assert light_files(data) == light_files(plain) and not (data / SCRATCH).exists()


def test_who_reads_meanwhile_keeps_the_files_until_the_next_time(tmp_path, build, parts_of_a_run, plain):
    files, reading = Tidy(tmp_path, build.RECIPE), None
    for at, part in enumerate(parts_of_a_run):
        commit_part(tmp_path, part)
        if at == 6:
            reading = DataSet.open(tmp_path)
            stream = reading.labels()
            found = [next(stream)]
        files.committed()
    assert found + list(stream) == list(DataSet.open(plain).labels())[: 2 * 7]
    assert len(light_files(tmp_path)) > 8
    reading.close()
    assert kept(tmp_path) == kept(plain)
    compact(tmp_path)
    assert len(light_files(tmp_path)) == 1


def test_a_damaged_part_ends_no_run_and_is_named_once(tmp_path, build, plain, parts_of_a_run, caplog):
    data = shutil.copytree(plain, tmp_path / "data")
    light = layout.light_path(data, build.RECIPE, "part-00005")
    light.write_bytes(light.read_bytes()[:-100])
    files = Tidy(data, build.RECIPE)
    with caplog.at_level(logging.WARNING):
        for _ in parts_of_a_run:
            files.committed()
        files.ended()
    (told,) = [record.getMessage() for record in caplog.records]
    assert "part-00005.light.parquet' cannot be read" in told and f"ivm compact --data {data}" in told
    assert light_files(data) == light_files(plain) and not list((data / SCRATCH / build.RECIPE).iterdir())


def test_a_full_disk_ends_no_run_and_leaves_nothing_behind(tmp_path, build, plain, monkeypatch, caplog):
    data = shutil.copytree(plain, tmp_path / "data")
    write = compaction.write_tables

    def full(path, *arguments):
        if path.name.endswith(layout.HEAVY):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        return write(path, *arguments)

    monkeypatch.setattr(compaction, "write_tables", full)
    Tidy(data, build.RECIPE).ended()
    assert "No space left on device" in caplog.text
    assert not list((data / SCRATCH / build.RECIPE).iterdir())
    assert kept(data) == kept(plain)


def test_a_compaction_that_runs_already_is_not_waited_for(tmp_path, build, plain):
    data = shutil.copytree(plain, tmp_path / "data")
    with alone_in(data / SCRATCH / build.RECIPE):
        assert not compact_unless_busy(data, build.RECIPE)
        Tidy(data, build.RECIPE).ended()
    assert len(light_files(data)) == PARTS
    assert compact_unless_busy(data, build.RECIPE)


def test_a_run_that_committed_nothing_has_nothing_to_join(tmp_path, caplog):
    Tidy(tmp_path, "none").ended()
    assert not caplog.records and not list(tmp_path.iterdir())


def test_files_grow_with_the_data_set_so_that_there_are_never_many(tmp_path, plain, monkeypatch):
    data = shutil.copytree(plain, tmp_path / "data")
    monkeypatch.setattr(compaction, "LIGHT_ROWS", 4)
    monkeypatch.setattr(compaction, "FULL", 5)
    compact(data)
    # Eighty rows: 4 a file would be twenty files, 8 ten, 16 are five.
    assert len(light_files(data)) == 5 and kept(data) == kept(plain)
    assert [compaction.full_file(rows) for rows in (0, 20, 21, 160, 10**9)] == [4, 4, 8, 32, 32]


def test_the_folder_is_listed_once_for_many_parts(tmp_path, build, plain, monkeypatch):
    monkeypatch.setattr(tidy, "compact_unless_busy", lambda data, recipe: False)
    listed, own_files = [], tidy._own_files
    monkeypatch.setattr(tidy, "_own_files", lambda folder: (listed.append(folder), own_files(folder))[1])
    files = Tidy(plain, build.RECIPE)
    for _ in range(PARTS):
        files.committed()
    assert len(listed) == PARTS // 8
