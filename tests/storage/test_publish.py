"""SIGKILL at every step, many writers at once, the umask: what is published is one whole version, and nothing stays."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from storage.disk.publish import sweep, whole_file, whole_folder, write_text
from storage.errors import DiskError

# For each line it forks a writer of FOLDER/<line>/out, which kills itself before its n-th call that changes the disk.
KILLER = """
import os, signal, sys
from pathlib import Path
from storage.disk.publish import whole_file, whole_folder
def write_file(out):
    with whole_file(out) as hidden:
        hidden.write_text("new" * 1000)
def write_folder(out):
    with whole_folder(out, keep=("kept",)) as hidden:
        (hidden / "below").mkdir()
        for name in ("a", "b", "below/c"):
            (hidden / name).write_text("new")
write = {"file": write_file, "folder": write_folder}[sys.argv[2]]
changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
for line in sys.stdin:
    run = os.fork()
    if not run:
        left = int(line)
        def count(event, arguments):
            global left
            if event in changes or event == "open" and arguments[2] & os.O_CREAT:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        write(Path(sys.argv[1]) / line.strip() / "out")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]), flush=True)
"""

# Publishes one version after the other, each whole, for ever.
WRITER = """
import sys
from pathlib import Path
from storage.disk.publish import whole_file, whole_folder
out, version = Path(sys.argv[1]), sys.argv[2]
for turn in range(10**9):
    with whole_folder(out / "folder") as hidden:
        for name in range(5):
            (hidden / str(name)).write_text(f"{version} {turn}")
    with whole_file(out / "file") as hidden:
        hidden.write_text(f"{version} {turn}\\n" * 500)
"""


def contents(path):
    """A file's text, or a folder's texts by name."""
    if path.is_file():
        return path.read_text()
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def make_old(kind, out):
    if kind == "file":
        out.write_text("old")
    else:
        (out / "kept").mkdir(parents=True)
        (out / "kept" / "log").write_text("log")
        (out / "gone").write_text("old")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_writer_killed_before_any_of_its_steps_leaves_a_whole_version_and_the_next_one_clears_up(tmp_path, kind):
    ends, seen = [], set()
    killer = [sys.executable, "-c", KILLER, str(tmp_path), kind]
    with subprocess.Popen(killer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for step in count():
            folder = tmp_path / str(step)
            folder.mkdir()
            make_old(kind, folder / "out")
            old = contents(folder / "out")
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            ends.append(int(process.stdout.readline()))
            sweep(folder)
            assert [path.name for path in folder.iterdir()] == ["out"], step
            found = contents(folder / "out")
            seen.add("old" if found == old else "new")
            if found != old:
                wanted = {"a": "new", "b": "new", "below/c": "new", "kept/log": "log"}
                assert found == ("new" * 1000 if kind == "file" else wanted), step
            if ends[-1] == 0:
                break
        process.stdin.close()
    assert set(ends[:-1]) == {-9} and len(ends) > 2 and seen == {"old", "new"}


def test_several_writers_at_once_never_give_a_torn_version_even_where_some_are_killed(tmp_path):
    def writer(name):
        return subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name])

    def read(version):
        try:
            return version()
        except FileNotFoundError:  # In the moment between the two renames of a folder.
            return None

    writers = [writer(str(number)) for number in range(3)]
    try:
        files, folders, end = set(), set(), time.monotonic() + 3
        while time.monotonic() < end or len(folders) < 3:
            lines = read((tmp_path / "file").read_text)
            if lines is not None:
                assert len(set(lines.splitlines())) == 1 and lines.count("\n") == 500
                files.add(lines.split()[0])
            if (handle := read(lambda: os.open(tmp_path / "folder", os.O_RDONLY))) is not None:
                # One folder is opened: its files are those of one version, until it is removed.
                texts = [read(lambda name=name: _text_at(handle, name)) for name in map(str, range(5))]
                os.close(handle)
                assert len(set(texts) - {None}) <= 1
                folders |= {text.split()[0] for text in texts if text}
            if len(folders) > 1 and writers[0].poll() is None:
                writers[0].kill()
                writers.append(writer("3"))
                writers[0].wait()
    finally:
        for process in writers:
            process.kill()
            process.wait()
    assert len(files) > 1 and len(folders) > 1
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert len(set(contents(tmp_path / "folder").values())) == 1 and len(contents(tmp_path / "folder")) == 5


def _text_at(folder, name):
    handle = os.open(name, os.O_RDONLY, dir_fd=folder)
    with os.fdopen(handle) as file:
        return file.read()


def test_what_a_living_writer_is_writing_is_not_swept(tmp_path):
    with whole_file(tmp_path / "a") as one, whole_folder(tmp_path / "b") as two:
        write_text(tmp_path / "c", "another")
        sweep(tmp_path)
        assert one.exists() and two.is_dir()
        one.write_text("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_block_that_fails_leaves_the_earlier_version_and_nothing_else(tmp_path):
    for kind, write in (("file", whole_file), ("folder", whole_folder)):
        make_old(kind, tmp_path / kind)
        before = contents(tmp_path / kind)
        with pytest.raises(RuntimeError), write(tmp_path / kind) as hidden:
            (hidden / "a" if kind == "folder" else hidden).write_text("new")
            raise RuntimeError
        assert contents(tmp_path / kind) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_rights_follow_the_umask_whatever_a_library_makes(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        with whole_folder(tmp_path / "deep" / "folder") as hidden:
            (hidden / "below").mkdir(mode=0o700)
            handle, name = tempfile.mkstemp(dir=hidden / "below")
            os.close(handle)
        with whole_file(tmp_path / "file") as hidden:
            handle, made = tempfile.mkstemp(dir=tmp_path)
            os.close(handle)
            os.replace(made, hidden)
    finally:
        os.umask(before)
    paths = [tmp_path / "file", tmp_path / "deep" / "folder" / "below" / Path(name).name]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [file, file]
    folders = [tmp_path / "deep", tmp_path / "deep" / "folder", tmp_path / "deep" / "folder" / "below"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in folders] == [folder] * 3


def test_where_every_writer_writes_the_same_the_first_one_stays(tmp_path):
    def write(number):
        with whole_folder(tmp_path / "cache", replace=False) as hidden:
            (hidden / "a").write_text(str(number))

    write(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 9)))
    assert contents(tmp_path / "cache") == {"a": "0"} and len(list(tmp_path.iterdir())) == 1


def test_a_link_is_followed_and_a_stream_is_written_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "file").read_text() == "text"
    read, write = os.pipe()
    write_text(Path(f"/dev/fd/{write}"), "text")
    assert os.read(read, 10) == b"text"
    os.close(read)
    os.close(write)


def test_a_file_where_a_folder_is_wanted_and_the_other_way_round_stay_what_they_are(tmp_path):
    make_old("file", tmp_path / "file")
    make_old("folder", tmp_path / "folder")
    with pytest.raises(DiskError, match="file' cannot be written: Not a directory"), whole_folder(tmp_path / "file"):
        pass
    with pytest.raises(DiskError, match="folder' cannot be written: Is a directory"):
        write_text(tmp_path / "folder", "text")
    with pytest.raises(DiskError, match="cannot be written: Not a directory"):
        write_text(tmp_path / "file" / "below", "text")
    assert contents(tmp_path / "file") == "old" and "gone" in contents(tmp_path / "folder")


def test_an_error_of_the_disk_names_the_target_and_what_to_do_and_keeps_its_number(tmp_path):
    with pytest.raises(DiskError) as caught, whole_file(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"'{tmp_path}/out' cannot be written: No space left on device; free space on that disk, or give another path"
    )
    assert isinstance(caught.value, OSError) and caught.value.errno == errno.ENOSPC
    with pytest.raises(FileNotFoundError) as other, whole_file(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert not isinstance(other.value, DiskError) and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_full_is_an_error_in_words(tmp_path):
    with (
        pytest.raises(DiskError, match="No space left on device; free space"),
        whole_folder(tmp_path / "out") as hidden,
    ):
        (hidden / "weights").symlink_to("/dev/full")
        with (hidden / "weights").open("w") as file:
            file.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_only_the_remains_of_writers_like_these_are_swept(tmp_path):
    names = (".notes.tmp", ".a.0123abcd.tmp", ".b.0123abcd.ivm-tmp", ".c.0123abcd.ivm-old", ".d.0123abcd.ivm-old")
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "d").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.0123abcd.tmp", ".notes.tmp", "c", "d"]
    shutil.rmtree(tmp_path)
