import json
import subprocess
import sys
import time

import psutil
import pytest

from flows.processes import Background

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]
PARENT = [sys.executable, "-c", f"import subprocess, time; subprocess.Popen({SLEEP!r}); time.sleep(300)"]


@pytest.fixture
def background(tmp_path):
    process = Background(tmp_path / "pids", "sleeper")
    yield process
    process.stop()


@pytest.fixture
def other_process():
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def test_what_was_started_is_found_and_stopped_with_all_that_it_started(background):
    background.start(PARENT, {})
    process = background.find()
    until = time.monotonic() + 20
    while not process.children() and time.monotonic() < until:
        time.sleep(0.05)
    (child,) = process.children()
    assert background.stop()
    assert not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE
    assert background.find() is None
    assert not background.stop()


def test_a_process_that_got_the_pid_of_a_dead_one_is_left_alone(background, other_process):
    background.folder.mkdir()
    (background.folder / "sleeper.json").write_text(json.dumps({"pid": other_process.pid, "started": 1.0}))
    assert background.find() is None
    assert not background.stop()
    assert other_process.poll() is None
    assert list(background.folder.iterdir()) == []


def test_a_torn_pid_file_is_no_process(background):
    background.folder.mkdir()
    (background.folder / "sleeper.json").write_text('{"pid": ')
    assert background.find() is None


def test_what_a_process_printed_last_is_kept(background):
    background.start([sys.executable, "-c", "print('one'); print('two')"], {})
    until = time.monotonic() + 20
    while background.find() and time.monotonic() < until:
        time.sleep(0.05)
    assert background.last_words(1) == "two"
