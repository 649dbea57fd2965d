"""Files that processes share, from the very first moment."""

import sqlite3
import subprocess
import sys

WRITERS, FILES = 6, 60
WRITE = """
import sys
from multiprocessing import get_context
from pathlib import Path
from ivm_data.experts.common.sqlite_file import SqliteFile

folder, writers, files = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
fork = get_context("fork")
start = fork.Barrier(writers, timeout=60)

def write(number):
    for each in range(files):
        file = SqliteFile(folder / f"{each}.sqlite", "table", "CREATE TABLE IF NOT EXISTS numbers (number INTEGER)")
        start.wait()
        with file.opened() as database:
            database.execute("INSERT INTO numbers VALUES (?)", (number,))

processes = [fork.Process(target=write, args=(number,)) for number in range(writers)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(any(process.exitcode for process in processes))
"""
"""In a process of its own: one that runs tests has threads, and may not be forked."""


def test_processes_that_make_a_file_at_once_all_write(tmp_path):
    command = [sys.executable, "-c", WRITE, tmp_path, str(WRITERS), str(FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    for each in range(FILES):
        with sqlite3.connect(tmp_path / f"{each}.sqlite") as database:
            assert database.execute("SELECT count(*) FROM numbers").fetchone() == (WRITERS,)
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not list(tmp_path.glob(".*"))
