"""`ivm label` of a folder of pictures, without a manifest."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from ivm_data import cli
from ivm_data.experts import registry
from ivm_data.worlds.world import write_world


@pytest.fixture
def ivm(monkeypatch, capfd):
    """Runs the command line in this process; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ivm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run


@pytest.fixture
def scenes(tmp_path):
    return write_world(tmp_path / "world", "val", scenes=3, pairs_per_scene=1, human_share=1).parent / "images"


def test_pictures_are_labeled_first_some_then_all_and_then_no_expert_is_loaded(ivm, scenes, tmp_path, monkeypatch):
    data = tmp_path / "data"
    asked = ("label", "--images", scenes, "--instruction", "Find the red ring.", "--out", data)
    status, out, _ = ivm(*asked, "--first", "2")
    (first,) = (data / "manifests").glob("*.jsonl")
    assert status == 0 and str(first) in out
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    assert [row["image"] for row in rows] == ["000000.png", "000001.png"]
    assert {row["instruction"] for row in rows} == {"Find the red ring."}

    status, out, _ = ivm(*asked)
    assert status == 0 and "2 of 3 pairs are labeled already." in out
    assert len(list((data / "manifests").glob("*.jsonl"))) == 2

    monkeypatch.setattr(registry, "get", lambda *_, **__: pytest.fail("an expert was loaded"))
    monkeypatch.setattr(registry, "_ready", lambda *_, **__: pytest.fail("an expert was loaded"))
    status, again, _ = ivm(*asked)
    assert status == 0 and "3 of 3 pairs are labeled already." in again
    summary = [line for line in out.splitlines() if line.split()[-1:] and line.split()[-1].isdigit()]
    assert summary and all(line in again.splitlines() for line in summary)


def test_a_text_file_asks_some_of_all_pictures_and_some_of_one(ivm, scenes, tmp_path):
    asked = tmp_path / "asked.txt"
    asked.write_text("Find the ring.\n000001.png\tFind the star.\ngone.png\tFind the cup.\n")
    status, out, err = ivm("label", "--images", scenes, "--instructions", asked, "--out", tmp_path / "data")
    assert status == 3 and "1 inputs could not be used" in err
    query = "select instruction, image_uri from outcomes order by all"
    status, out, _ = ivm("sql", "--data", tmp_path / "data", "--format", "json", query)
    rows = [json.loads(line) for line in out.splitlines()]
    asked_of = [(row["instruction"], row["image_uri"]) for row in rows if row["image_uri"]]
    assert asked_of == [("Find the ring.", f"00000{i}.png") for i in range(3)] + [("Find the star.", "000001.png")]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_first_lines_of_a_manifest_are_tried_and_all_of_it_goes_on_behind_them(ivm, scenes, tmp_path, ending):
    manifest, data = scenes / "asked.csv", tmp_path / "data"
    rows = [
        "image,instruction",
        '000000.png,"Find the ring,',
        'please."',
        "000001.png,Find the ring.",
        "000000.png,Find it.",
    ]
    manifest.write_bytes(ending.join(rows).encode())
    status, _, _ = ivm("label", "--manifest", manifest, "--out", data, "--first", "2")
    assert status == 0
    assert (data / "manifests" / "first-2" / "asked.csv").read_text().splitlines() == rows[:4]
    count = ("sql", "--data", data, "--format", "json", "select count(*) as n, min(source) as s from outcomes")
    assert json.loads(ivm(*count)[1]) == {"n": 2, "s": "asked"}
    status, out, _ = ivm("label", "--manifest", manifest, "--out", data)
    assert status == 0 and "2 of 3 pairs are labeled already" in out
    assert json.loads(ivm(*count)[1]) == {"n": 3, "s": "asked"}


def test_photographs_that_the_embedded_experts_cannot_know_are_said_to_be_so_and_the_status_stays(ivm, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.radial_gradient("L").convert("RGB").save(pictures / "1.jpg")
    asked = ("--images", pictures, "--instruction", "Find the zebra beside the sofa.", "--out", tmp_path / "data")
    status, _, err = ivm("label", *asked)
    assert status == 0
    assert err.count("no photographs") == 2 and "ivm doctor --recipe small" in err
    status, _, _ = ivm("report", "--data", tmp_path / "data", "-o", tmp_path / "report.html")
    assert status == 0 and "no photographs" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --manifest FILE, or --images FOLDER"),
        (("--images", ".", "--manifest", "m.jsonl"), "give --manifest FILE, or --images FOLDER"),
        (("--images", "."), "either --instruction TEXT or --instructions FILE"),
        (("--images", ".", "--instruction", "a", "--instructions", "b.txt"), "either --instruction TEXT or"),
        (("--images", ".", "--instruction", "Find it."), "holds no image file"),
        (("--images", "gone", "--instruction", "Find it."), "--images 'gone' is not there"),
        (("--images", ".", "--instruction", "Find it.", "--image-root", "."), "--image-root belongs to --manifest"),
        (("--manifest", "m.jsonl", "--instruction", "Find it."), "belong to --images"),
        (("--manifest", "m.jsonl", "--first", "3"), "'m.jsonl' is not there"),
    ],
)
def test_what_is_missing_or_too_much_is_said(ivm, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = ivm("label", *arguments, "--out", "data")
    assert status == 2 and message in err
    assert not Path("data").exists()


def test_guessed_columns_are_said(ivm, scenes, tmp_path):
    manifest = scenes / "asked.csv"
    manifest.write_text("file;prompt\n000000.png;Find the red ring.\n")
    status, out, _ = ivm("label", "--manifest", manifest, "--out", tmp_path / "data")
    assert status == 0
    assert "column 'file' is taken as the image, column 'prompt' is taken as the instruction" in out
    assert "separated by semicolons" in out
