"""The store of answers, with real files and processes."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from ivm_data.experts.answers.place import place
from ivm_data.experts.answers.store import AnswersConfig, AnswerStore, Stored
from storage.disk import mounts
from storage.errors import ConfigError

MIB = 2**20
WRITER = """
import os, signal, sys
from ivm_data.experts.answers.store import AnswersConfig, AnswerStore, Stored
store = AnswerStore(AnswersConfig(sys.argv[1]))
for number in range(40):
    store.keep({bytes([number]): Stored("one", 2, b"x" * 500)})
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def stored(value, expert="one", rows=1):
    return Stored(expert, rows, value)


def opened(folder, mib=2048.0):
    return AnswerStore(AnswersConfig(str(folder), mib / 1024))


def test_what_was_kept_is_found_later_and_counted_by_expert(tmp_path):
    opened(tmp_path).keep({b"a": stored(b"1", "one", 3), b"b": stored(b"2", "two", 4)})
    later = opened(tmp_path)
    assert later.find([b"a", b"c", b"a"]) == {b"a": b"1"}
    assert later.rows_of(["one", "two", "three"]) == {"one": 3, "two": 4, "three": 0}


def test_more_keys_than_one_statement_takes_are_all_found(tmp_path):
    store, many = opened(tmp_path), [n.to_bytes(2, "big") for n in range(1201)]
    store.keep({key: stored(key) for key in many})
    assert store.find(many) == {key: key for key in many}


def test_an_answer_that_was_asked_for_anew_takes_the_place_of_the_earlier_one(tmp_path):
    store = opened(tmp_path)
    store.keep({b"a": stored(b"1")})
    store.keep({b"a": stored(b"2")})
    assert store.find([b"a"]) == {b"a": b"2"}
    assert store.rows_of(["one"]) == {"one": 1}


def test_a_store_that_is_full_drops_what_nobody_read_for_longest_and_stays_within_its_bound(tmp_path):
    old, young = [bytes([0, n]) for n in range(10)], [bytes([1, n]) for n in range(10)]
    opened(tmp_path, 2).keep({key: stored(os.urandom(MIB // 8)) for key in old})
    later = opened(tmp_path, 2)
    assert set(later.find(old[:5])) == set(old[:5])
    for key in young:
        later.keep({key: stored(os.urandom(MIB // 8))})
    assert later.size() <= 2 * MIB
    assert later.path.stat().st_size < 2.5 * MIB
    assert set(later.find([*old, *young])) == {*old[:5], *young}


def test_a_run_that_is_larger_than_the_store_keeps_what_fits_and_finds_that_part_each_time(tmp_path):
    keys = [bytes([n]) for n in range(30)]

    def run():
        store = opened(tmp_path, 1)
        found = {key for key in keys if store.find([key])}
        for key in set(keys) - found:
            store.keep({key: stored(os.urandom(MIB // 10))})
        assert store.size() <= MIB
        return found

    assert run() == set()
    assert 5 < len(run()) < 10
    assert run() == run()


def test_a_full_disk_stops_the_keeping_and_nothing_else(tmp_path, caplog):
    store = opened(tmp_path)
    store.keep({b"a": stored(b"1")})
    with store._file.opened() as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
    store.keep({b"b": stored(os.urandom(MIB))})
    assert "is full: no more answers are kept" in caplog.text
    assert store.find([b"a", b"b"]) == {b"a": b"1"}
    opened(tmp_path).keep({b"b": stored(b"2")})
    assert store.find([b"b"]) == {b"b": b"2"}


def test_processes_that_write_at_once_and_one_that_is_killed_lose_nothing_they_kept(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in ("a", "killed")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, -signal.SIGKILL]
    store = opened(tmp_path)
    assert store.rows_of(["one"]) == {"one": 80}
    with sqlite3.connect(store.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_no_store_is_named_and_a_run_goes_on_without_it(tmp_path, caplog):
    store = opened(tmp_path)
    store.path.write_bytes(b"not a database" * 100)
    assert store.rows_of(["one"]) == {"one": 0}
    assert store.find([b"a"]) == {}
    store.keep({b"a": Stored("one", 1, b"x")})
    (line,) = [record.getMessage() for record in caplog.records]
    assert "delete the file" in line and "goes on without it" in line


@pytest.mark.parametrize("gib", [0, -1.0, float("nan")])
def test_a_bound_that_is_none_is_refused(tmp_path, gib):
    with pytest.raises(ConfigError, match="gib"):
        place(tmp_path, gib=gib)


def test_answers_lie_in_the_data_set_or_where_they_are_named_or_nowhere(tmp_path):
    assert place(tmp_path / "data").folder == str(tmp_path / "data" / "answers")
    assert place(tmp_path / "data", str(tmp_path / "own"), 0.5) == AnswersConfig(str(tmp_path / "own"), 0.5)
    assert place(tmp_path, "none") is None


def test_a_network_file_system_keeps_no_answers(tmp_path, monkeypatch, caplog):
    table = tmp_path / "mounts"
    far = str(tmp_path / "far away")
    table.write_text(f"/dev/a / ext4 rw 0 0\nhost:/x {far.replace(' ', chr(92) + '040')} nfs4 rw 0 0\n")
    monkeypatch.setattr(mounts, "_MOUNTS", table)
    assert place(tmp_path / "far away" / "data") is None
    assert "not kept" in caplog.text
    with pytest.raises(ConfigError, match="network file system"):
        place(tmp_path, far)
    assert place(tmp_path / "far") is not None
