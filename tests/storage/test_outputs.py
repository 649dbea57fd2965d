import os

import pytest

from storage.errors import ConfigError
from storage.outputs import MARKER, Output, check, has_mark, is_marked, mark, read_json
from storage.parts.shards import commit_part

FOLDER = Output("a cake of 'ivm bake'", lambda folder: is_marked(folder, "ivm bake"), folder=True)
FILE = Output("a slice of 'ivm cut'", lambda path: has_mark(path, "ivm cut"))
NEVER = Output("a recipe card", None)


@pytest.fixture
def data(tmp_path, build):
    commit_part(tmp_path / "data", build.make_part())
    return tmp_path / "data"


def test_what_is_new_empty_or_ours_is_taken(tmp_path, data):
    (tmp_path / "empty").mkdir()
    mark(tmp_path / "cake", "ivm bake")
    (tmp_path / "slice.svg").write_text("<svg> <!-- ivm cut --> </svg>")
    for out in ("new", "deep/new", "empty", "cake", "data/checkpoints/mine"):
        check(FOLDER, tmp_path / out, data)
    for out in ("new.svg", "slice.svg", "data/slice.svg"):
        check(FILE, tmp_path / out, data)


def test_what_somebody_else_wrote_is_refused_and_stays(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "notes.svg").write_text("mine")
    mark(tmp_path / "bread", "ivm toast")
    for output, name, why in (
        (FOLDER, "thesis", "is there and is not a cake of 'ivm bake'"),
        (FOLDER, "bread", "is not a cake of 'ivm bake', so it is left as it is; give another path, or move it away"),
        (FILE, "notes.svg", "is there and is not a slice of 'ivm cut'"),
        (NEVER, "notes.svg", "is there and may be your own work, as a recipe card does not show its writer"),
    ):
        with pytest.raises(ConfigError, match=why):
            check(output, tmp_path / name)


def test_a_file_where_a_folder_is_wanted_and_the_other_way_round_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for output, name, why in (
        (FOLDER, "file", "'.*file' is a file; a cake of 'ivm bake' is a folder"),
        (FILE, "folder", "'.*folder' is a folder; a slice of 'ivm cut' is a file"),
        (FOLDER, "file/below/deep", "'.*file' is a file, so nothing can lie in it"),
    ):
        with pytest.raises(ConfigError, match=why):
            check(output, tmp_path / name)


@pytest.mark.parametrize("linked", [False, True])
def test_a_data_set_is_never_replaced_and_nothing_is_written_among_its_files(tmp_path, data, linked):
    for other in ("cake", "."):
        mark(tmp_path / other, "ivm bake")  # Even what looks like ours.
    mark(data, "ivm bake")
    seen = data
    if linked:
        seen = tmp_path / "link"
        seen.symlink_to(data)
    for out, why in (
        (data, "is or holds the data set"),
        (tmp_path, "is or holds the data set"),
        (data / "labels", "lies in the data set"),
        (data / "model", "lies in the data set .*; give a folder beside it, or '.*/checkpoints/NAME'"),
        (data / "checkpoints", "lies in the data set"),
        (seen / "recipes" / "x", "lies in the data set"),
    ):
        with pytest.raises(ConfigError, match=why):
            check(FOLDER, out, seen)
    for out in (data / "labels" / "a.svg", data / "snapshots" / "b.svg", data / ".compacting" / "c"):
        with pytest.raises(ConfigError, match="lies among the data set's own files"):
            check(FILE, out, seen)


def test_what_is_read_is_not_written(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "below").mkdir()
    with pytest.raises(ConfigError, match=r"a\.jsonl' is what is read; give another path"):
        check(FILE, tmp_path / "below" / ".." / "a.jsonl", inputs=[tmp_path / "a.jsonl"])


def test_a_mark_is_found_at_both_ends_of_a_large_file_and_a_stream_is_no_file(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10**6) + b"ivm cut")
    (tmp_path / "b").write_bytes(bytes(10**6) + b"ivm cut" + bytes(10**6))
    assert has_mark(tmp_path / "a", "x", "ivm cut") and not has_mark(tmp_path / "b", "ivm cut")
    read, write = os.pipe()
    for output in (FILE, NEVER):
        check(output, tmp_path / f"/dev/fd/{write}")
    os.close(read)
    os.close(write)


def test_a_marker_that_cannot_be_read_marks_nothing(tmp_path):
    for text in ("", "[1]", '{"made_by": "ivm other"}', "[" * 10**5):
        (tmp_path / MARKER).write_text(text)
        assert not is_marked(tmp_path, "ivm bake")
    assert read_json(tmp_path / "nowhere") == {}
