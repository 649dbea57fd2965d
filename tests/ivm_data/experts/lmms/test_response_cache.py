"""The table of paid answers, with real files and processes."""

import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from ivm_data.experts.lmms.response_cache import ResponseCache, response_key
from storage.errors import ConfigError

IMAGE = np.zeros((2, 3, 3), np.uint8)

WRITER = """
import sys
from ivm_data.experts.lmms.response_cache import ResponseCache
cache = ResponseCache(sys.argv[1])
for number in range(40):
    cache.keep(f"{number}", {"from": sys.argv[2], "text": "x" * 500})
    print(number, flush=True)
if sys.argv[2] == "killed":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_kept_is_found_by_another_reader_and_nothing_else_is(tmp_path):
    ResponseCache(tmp_path).keep("a", {"p": 0.25, "text": "é\n\"'"})
    assert ResponseCache(tmp_path).find(["a", "b"]) == {"a": {"p": 0.25, "text": "é\n\"'"}}


def test_of_two_answers_to_one_question_the_first_stays(tmp_path):
    cache = ResponseCache(tmp_path)
    cache.keep("a", "first")
    cache.keep("a", "second")
    assert cache.find(["a"]) == {"a": "first"}


def test_every_part_of_a_question_changes_its_key():
    other_pixel = IMAGE.copy()
    other_pixel[0, 0, 0] = 1
    questions = [
        ("m", {"votes": 1}, ["s", "t"], IMAGE),
        ("n", {"votes": 1}, ["s", "t"], IMAGE),
        ("m", {"votes": 2}, ["s", "t"], IMAGE),
        ("m", {"votes": 1}, ["st", ""], IMAGE),
        ("m", {"votes": 1}, ["s", "t"], other_pixel),
        ("m", {"votes": 1}, ["s", "t"], IMAGE.reshape(3, 2, 3)),
        ("m", {"votes": 1}, ["s", "t"], None),
    ]
    assert len({response_key(*question) for question in questions}) == len(questions)
    assert response_key(*questions[0]) == response_key("m", {"votes": 1}, ["s", "t"], IMAGE.copy())


def test_processes_that_write_at_once_and_one_that_is_killed_lose_nothing_they_kept(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdout=subprocess.PIPE)
        for name in ("a", "killed")
    ]
    outputs = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, -9]
    assert all(output.split()[-1] == b"39" for output in outputs)
    cache = ResponseCache(tmp_path)
    assert len(cache.find(map(str, range(40)))) == 40
    with sqlite3.connect(cache.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_no_table_is_named(tmp_path):
    cache = ResponseCache(tmp_path)
    cache.path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match=r"responses\.sqlite.*delete the file"):
        cache.find(["a"])


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name a directory"):
        ResponseCache(tmp_path / "file").keep("a", 1)
