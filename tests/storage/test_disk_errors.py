"""What the disk refuses is an error in words: never an empty answer, never a traceback of a library."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.data_set import DataSet
from storage.errors import DiskError, ShardError
from storage.parts.shards import commit_part, write_weights
from storage.tables.recipes import load, write_recipe
from storage.upkeep.compact import compact

# Tries to read a data set as a user without any right to FOLDER.
AS_ANOTHER = """
import os, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import builders
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import IvmError
from storage.parts.shards import commit_part
with tempfile.TemporaryDirectory() as root:
    data = Path(root) / "data"
    commit_part(data, builders.make_part())
    for folder in (Path(root), data, *data.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    (data / sys.argv[2]).chmod(0)
    run = os.fork()
    if not run:
        if os.getuid() == 0:
            os.setuid(65534)
        for opens in (DataSet.open, Catalog):
            try:
                opens(data)
                print("opened", flush=True)
            except IvmError as error:
                print(type(error).__name__, str(error).replace(root, ""), flush=True)
        os._exit(0)
    os.waitpid(run, 0)
    (data / sys.argv[2]).chmod(0o755)
"""


@pytest.mark.parametrize("folder", ["labels", "labels/3f9c0a", "timings", "."])
def test_a_folder_that_may_not_be_read_is_an_error_and_not_an_empty_data_set(folder):
    command = [sys.executable, "-c", AS_ANOTHER, str(Path(__file__).parent), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and not done.stderr
    for line in lines:
        assert line.startswith("ShardError ") and "Permission denied" in line and "/data" in line


def test_a_file_in_the_place_of_the_labels_is_an_error(tmp_path):
    (tmp_path / "labels").write_text("")
    with pytest.raises(
        ShardError, match=r"labels' cannot be listed \(Not a directory\), so what it holds is not known"
    ):
        DataSet.open(tmp_path)


def test_what_cannot_be_written_is_an_error_in_words_and_nothing_is_lost(tmp_path, build):
    commit_part(tmp_path, build.make_part("part-00000"))
    (tmp_path / "timings" / "other").parent.joinpath("other").write_text("a file where a folder belongs")
    with pytest.raises(DiskError, match="timings/other' cannot be written: Not a directory; give another path"):
        commit_part(tmp_path, build.make_part("part-00000", recipe="other"))
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(DiskError, match=r"weights/lmm@1' cannot be written: Not a directory \('.*/weights'\)"):
        write_weights(tmp_path, "lmm@1", "all", [])
    (tmp_path / "weights").unlink()
    with DataSet.open(tmp_path) as data:
        assert data.recipes == (build.RECIPE,) and data.problems == ()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_at_a_commit_leaves_the_part_uncommitted_and_the_folder_clean(tmp_path, build, monkeypatch):
    commit_part(tmp_path, build.make_part("part-00000"))
    writer = pq.ParquetWriter
    monkeypatch.setattr(pq, "ParquetWriter", lambda path, *given, **more: writer("/dev/full", *given, **more))
    with pytest.raises(DiskError, match="No space left on device; free space on that disk"):
        commit_part(tmp_path, build.make_part("part-00001", seed=100))
    monkeypatch.undo()
    assert not list(tmp_path.rglob(".*"))
    assert commit_part(tmp_path, build.make_part("part-00001", seed=100)).fresh


def test_a_torn_file_stops_a_compaction_with_its_name(tmp_path, build):
    for i in range(3):
        commit_part(tmp_path, build.make_part(f"part-{i}", seed=100 * i))
    path = tmp_path / "timings" / build.RECIPE / "part-1.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShardError, match=r"timings/3f9c0a/part-1\.parquet' cannot be read"):
        compact(tmp_path)


def test_a_torn_recipe_is_named_where_it_is_needed(tmp_path):
    path = write_recipe(tmp_path, "3f9c", {"a": 1})
    assert load(tmp_path, "3f9c") == {"a": 1} and load(tmp_path, "none") == {}
    path.write_bytes(b'{"a": \xff')
    with pytest.raises(ShardError, match=r"recipe '.*3f9c\.json' cannot be read"):
        write_recipe(tmp_path, "3f9c", {"a": 1})
    path.write_text('{"a": ')
    with pytest.raises(ShardError, match=r"recipe '.*3f9c\.json' cannot be read"):
        load(tmp_path, "3f9c")
