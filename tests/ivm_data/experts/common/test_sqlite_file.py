"""Files that processes share, from the very first moment."""

import sqlite3
import traceback
from multiprocessing import get_context

from ivm_data.experts.common.sqlite_file import SqliteFile

TABLES = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)"
WRITERS, FILES = 6, 60


def write(folder, number, start):
    try:
        for each in range(FILES):
            file = SqliteFile(folder / f"{each}.sqlite", "table", TABLES)
            start.wait()
            with file.opened() as database:
                database.execute("INSERT INTO numbers VALUES (?)", (number,))
    except Exception:
        (folder / f"writer-{number}.error").write_text(traceback.format_exc())


def test_processes_that_make_a_file_at_once_all_write(tmp_path):
    fork = get_context("fork")
    start = fork.Barrier(WRITERS, timeout=60)
    writers = [fork.Process(target=write, args=(tmp_path, number, start)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not [path.read_text() for path in sorted(tmp_path.glob("*.error"))]
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    for each in range(FILES):
        with sqlite3.connect(tmp_path / f"{each}.sqlite") as database:
            assert database.execute("SELECT count(*) FROM numbers").fetchone() == (WRITERS,)
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not list(tmp_path.glob(".*"))
