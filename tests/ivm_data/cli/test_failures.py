"""What the machine refuses is one line that says what, what was kept and what to do; never a traceback."""

import errno
import os
import resource
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest

from ivm_data import cli
from ivm_data.cli.failures import of_the_machine
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.upkeep.digest import content_hash

IVM = [sys.executable, "-c", "from ivm_data.cli import main; main()"]
LARGEST = 8_000
"""Bytes of the largest file that the full disk takes: a recipe, but no shard."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("labeled")
    manifest = write_world(root / "world", "val", scenes=2, pairs_per_scene=2, human_share=0.5)
    label_manifest(prepare(manifest, root / "data", recipe("demo"), part_size=2))
    return root / "data"


def on_a_full_disk(*arguments):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))

    command = [*IVM, *map(str, arguments)]
    # Python would leave torn bytecode, too.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small_files, env=environment)


@pytest.mark.parametrize(
    "arguments",
    [
        ("world", "file/world", "--scenes", "1"),
        ("search-world", "file/search", "--questions", "1"),
        ("report", "--data", "DATA", "-o", "file/report.html"),
        ("figure", "area", "--data", "DATA", "-o", "file/area.svg"),
        ("export", "coco", "--data", "DATA", "--out", "file/coco", "--status", "any"),
        ("mix", "--out", "file/mixed.jsonl", "WORLD/manifest.jsonl=1"),
        ("label", "--manifest", "WORLD/manifest.jsonl", "--out", "file/data"),
        ("label", "--manifest", "WORLD/manifest.jsonl", "--out", "file"),
    ],
)
def test_a_path_below_a_file_is_one_clean_line_at_every_command_that_writes(
    data, tmp_path, monkeypatch, capfd, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    paths = {"DATA": str(data), "WORLD": str(data.parent / "world")}
    spelled = [paths.get(word, word.replace("WORLD", paths["WORLD"])) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["ivm", *spelled])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    err = capfd.readouterr().err
    assert exit_.value.code == 2
    assert err.count("\n") == 1 and err.startswith("error: ") and "'file' is a file" in err and "give" in err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_one_line_and_the_next_run_goes_on(data, tmp_path, monkeypatch):
    manifest = data.parent / "world" / "manifest.jsonl"
    label = ("label", "--manifest", str(manifest), "--out", str(tmp_path / "data"), "--part-size", "2")
    full = on_a_full_disk(*label)
    assert full.returncode == 2 and "Traceback" not in full.stderr
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "File too large" in line and "parts committed before it are kept" in line and "run the same again" in line
    monkeypatch.setattr(sys, "argv", ["ivm", *label])
    with pytest.raises(SystemExit) as again:
        cli.main()
    assert not again.value.code
    assert content_hash(tmp_path / "data") == content_hash(data)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/x"), "No space left on device: 'data/x'; parts"),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x"),
            "give yourself the permission, or another path",
        ),
        (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "x"), "give the path of a file"),
        (OSError("Couldn't deserialize thrift: TProtocolException: Invalid data\nmore"), "Invalid data; parts"),
        (pa.ArrowInvalid("Corrupt snappy compressed data"), "a file cannot be read: Corrupt snappy compressed data"),
        (duckdb.IOException("IO Error: no magic bytes"), "ivm sql --data DIR"),
        (MemoryError(), "too little memory"),
    ],
)
def test_each_kind_of_refusal_says_what_what_is_kept_and_what_to_do(error, said):
    line = of_the_machine(error, "label")
    assert said in line and "parts committed before it are kept" in line and line.endswith("and run the same again")
    assert "\n" not in line


def test_a_bug_keeps_its_traceback():
    assert of_the_machine(KeyError("x"), "label") is None
    assert of_the_machine(pytest.fail.Exception("x"), "label") is None
