"""No command writes over what it did not write: each is tried on a folder or file with somebody's work."""

import json
import shutil
import sys

import numpy as np
import pytest
import typer
from PIL import Image

from ivm_data import cli
from ivm_data.cli.app import app
from ivm_data.outputs import OUTPUTS, check
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError

FOLDERS = {
    "train": ("--data", "data", "--out"),
    "train-judge": ("--data", "data", "--out"),
    "convert": ("IVM-V1.0.bin", "--out"),
    "zoo train": ("grounder", "--out"),
    "world": (),
    "search-world": (),
    "export": ("coco", "--data", "data", "--out"),
    "mask": ("photos", "the ring", "--model", "no-model", "--out"),
}
FILES = {
    "report": ("--data", "data", "--out", "mine.html"),
    "explain": ("3f9c", "--data", "data", "--out", "mine.png"),
    "figure": ("area", "--data", "data", "--out", "mine.svg"),
    "calibrate": ("--data", "data", "--out", "mine.json"),
    "evaluate": ("--manifest", "m.jsonl", "--on", "recipe:demo", "--out", "mine.md"),
    "vstar": ("--data", "bench", "--out", "mine.md"),
    "import": ("coco", "--out", "mine.jsonl"),
    "complicate": ("--manifest", "m.jsonl", "--out", "mine.jsonl"),
    "mix": ("m.jsonl=1", "--out", "mine.jsonl"),
    "mask": ("photos/a.png", "the ring", "--model", "no-model", "--out", "mine.png"),
}
ADD_TO_A_DATA_SET = {"label": ("--manifest", "m.jsonl", "--out"), "pull": ("s3://bucket/data", "--out")}


@pytest.fixture
def ivm(monkeypatch, capfd, tmp_path):
    """Runs a command in a folder with photographs; returns exit status and standard error."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capfd.readouterr().err

    return run


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def commands(group, before=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_with_an_output_is_tried_here():
    writing = {
        name for name, command in commands(typer.main.get_command(app)) if "out" in {p.name for p in command.params}
    }
    assert writing == FOLDERS.keys() | FILES.keys() | ADD_TO_A_DATA_SET.keys()


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_with_somebodys_work_is_left_as_it_is(ivm, tmp_path, command):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "config.json").write_text('{"years": 3}')
    before = files(tmp_path)
    status, error = ivm(*command.split(), *FOLDERS[command], "thesis")
    assert status == 2 and "'thesis' is there and is not" in error and "Traceback" not in error
    status, error = ivm(*command.split(), *FOLDERS[command], "thesis/config.json")
    assert status == 2 and "is a file" in error.replace("is no name", "is a file")
    assert files(tmp_path) == before


@pytest.mark.parametrize("command", FILES)
def test_a_file_of_somebody_is_left_as_it_is(ivm, tmp_path, command):
    out = FILES[command][-1]
    (tmp_path / out).write_text("years of work")
    before = files(tmp_path)
    status, error = ivm(*command.split(), *FILES[command])
    assert status == 2 and f"'{out}' is there and" in error and "Traceback" not in error
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "--data", "data", "-o", "report.png"), "does not end in '.html' or '.htm'"),
        (("report", "--data", "data", "-o", "report"), "give 'report.html'"),
        (("report", "--data", "data", "-o", "photos"), "'photos' is a folder; a report of 'ivm report' is a file"),
        (("calibrate", "--data", "data", "--out", "c.html"), "does not end in '.json'"),
        (("explain", "3f9c", "--data", "data", "-o", "story.jpg"), "give 'story.png'"),
        (("mask", "photos/a.png", "the ring", "--model", "no-model", "-o", "masked.html"), "use .png or .jpg"),
        (("mask", "photos/a.png", "the ring", "--model", "no-model", "-o", "masked"), "no name of an image file"),
        (("mask", "photos", "the ring", "--model", "no-model", "-o", "masked.png"), "leave out the '.png'"),
        (("train", "--data", "data", "--out", "model.json"), "is called like a file; a checkpoint of 'ivm train'"),
        (("label", "--manifest", "m.jsonl", "--out", "labels.csv"), "a data set is a folder, so leave out the '.csv'"),
        (("world", "world.html"), "is called like a file; a world"),
        (("export", "coco", "--data", "data", "--out", "coco.json"), "is called like a file"),
    ],
)
def test_a_name_that_ends_like_something_else_is_refused(ivm, tmp_path, arguments, message):
    (tmp_path / "data").mkdir()
    before = files(tmp_path)
    status, error = ivm(*arguments)
    assert status == 2 and message in error and "Error" not in error
    assert files(tmp_path) == before


@pytest.mark.parametrize("command", ADD_TO_A_DATA_SET)
def test_a_data_set_is_a_folder(ivm, tmp_path, command):
    (tmp_path / "file").write_text("work")
    status, error = ivm(command, *ADD_TO_A_DATA_SET[command], "file")
    assert status == 2 and "'file' is a file; a data set is a folder" in error


@pytest.mark.parametrize("out", ["data", ".", "data/labels", "data/model", "data/recipes/x"])
@pytest.mark.parametrize("command", ["train", "train-judge", "export"])
def test_the_data_set_that_is_read_is_never_replaced(ivm, tmp_path, command, out):
    (tmp_path / "data" / "labels" / "3f9c").mkdir(parents=True)
    (tmp_path / "data" / "labels" / "3f9c" / "part.light.parquet").write_text("labels")
    before = files(tmp_path)
    status, error = ivm(command, *FOLDERS[command], out)
    assert status == 2 and "data set" in error and files(tmp_path) == before


def test_a_checkpoint_and_an_unfinished_training_are_known_and_one_with_something_added_is_not(tmp_path):
    out = tmp_path / "model"
    (out / "tb").mkdir(parents=True)
    (out / "tb" / "events.out.tfevents.1.host.2.0").touch()
    check("train", out)
    (out / "state" / "00000003").mkdir(parents=True)
    (out / "state" / "00000003" / "state.json").touch()
    check("train", out)
    (out / "config.json").write_text(json.dumps({"format": 1, "base_models": {}, "weights": "", "model": {}}))
    (out / "model.safetensors").touch()
    check("train", out)
    shutil.rmtree(out / "state")
    check("train", out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        check("train", out)
    (out / "notes.txt").unlink()
    (out / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        check("train", out)


def test_worlds_and_tables_of_before_they_were_marked_are_known(tmp_path):
    write_world(tmp_path / "world", "test", scenes=1, pairs_per_scene=1, human_share=0)
    (tmp_path / "world" / ".ivm-output.json").unlink()
    (tmp_path / "scores.md").write_text("# Masks on world/manifest.jsonl\n")
    (tmp_path / "scores.json").write_text('{"manifest": "", "overall": {}, "samples": []}')
    (tmp_path / "answers.md").write_text("# Answers of lmm on search, by letter\n")
    for name, out in (
        ("world", "world"),
        ("evaluate", "scores.md"),
        ("evaluate", "scores.json"),
        ("vstar", "answers.md"),
    ):
        check(name, tmp_path / out)
    with pytest.raises(ConfigError, match="is not a table of 'ivm evaluate'"):
        check("evaluate", tmp_path / "answers.md")
    assert {name for name in OUTPUTS if OUTPUTS[name].is_ours is None} == {"manifest"}


def test_a_folder_that_holds_nothing_is_not_frozen(ivm, tmp_path):
    before = files(tmp_path)
    status, error = ivm("snapshot", "create", "--data", "photos")
    assert status == 2 and "'photos' holds nothing to freeze; label something first" in error.replace("\n", "")
    assert files(tmp_path) == before


def test_commands_replace_what_they_wrote_themselves(ivm, tmp_path):
    for _ in range(2):
        assert ivm("world", "world", "--scenes", 1)[0] == 0
        assert ivm("search-world", "search", "--questions", 1, "--side", 128)[0] == 0
